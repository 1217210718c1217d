"""Where results may come from, at the first address and behind every redirect."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from chainhub_async import AsyncChainHub, download, errors
from chainhub_async.models import GeneratedImage
from chainhub_async.networks import Network
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import Reply
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import PATH, MakeHub, Proxy, names

pytestmark = pytest.mark.anyio

PUBLIC = "http://93.184.215.14"  # never connected to: only what it stands for matters
NEVER = [
    "http://10.0.0.1/x",
    "http://192.168.1.1:8080/x",
    "http://172.16.0.1/x",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00::1]/x",
    "http://[fe80::1]/x",
    "http://[::ffff:10.0.0.1]/x",
    "http://0.0.0.0/x",
    "http://167772161/x",
    "http://0x0a000001/x",
    "http://012.0.0.1/x",
    "http://100.100.100.200/x",
]


@pytest.mark.parametrize("address", [*NEVER, "http://127.0.0.1/x", "http://[::1]/x"])
async def test_private_address(make_hub: MakeHub, tmp_path: Path, address: str) -> None:
    """With a public gateway, no result comes from this machine or its network."""
    hub = make_hub(PUBLIC)
    # yarl takes some of these forms for no address at all.
    with pytest.raises(errors.DownloadError, match=r"allow_private|not a canonical"):
        await hub.download(address, tmp_path / "a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("found", [["10.0.0.1"], ["10.0.0.1", "fd00::1"], ["169.254.169.254"]])
async def test_private_name(
    make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    """A name is judged by the addresses it leads to."""

    def getaddrinfo(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        if host != "results.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 0))]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    hub = make_hub(PUBLIC)
    with pytest.raises(errors.UnsafeAddressError):
        await hub.download("http://results.example/x.png", tmp_path / "a")


# Each of them becomes an IP address or `localhost` on its way, here, in the proxy or in a resolver.
DISGUISED = [
    "\uff11\uff16\uff19.254.169.254",
    "169\u3002254\u3002169\u3002254",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020.0.1",
    "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
    "\u24dbocalhost",
    "LOCALHOST.",
    "x.localhost.",
    "127.0.0.1.",
    "127.0.0.1..",
    "0x7f000001.",
    "0X7F.1",
    "2130706433",
    "0x7f.\uff11",
    "0177.0.0.1",
    "010.0.0.1",  # 8.0.0.1 or 10.0.0.1, depending on who reads it
    "10.1",
    "0",
    "1.2.3.4.5",
    "[::ffff:7f00:1]",
    "[::1]",
]
NO_HOST = [
    "127.0.0.%31",
    "%6c%6f%63alhost",
    "127.0.0.1%00.example",
    "[::1%25lo]",
    "[fe80::1%eth0]",
    "a,127.0.0.1",
    "a;b",
]


@pytest.mark.parametrize("path", ["/x", "/\u00e9 x"])
@pytest.mark.parametrize("host", DISGUISED)
async def test_disguised_address_behind_a_proxy(
    proxy: Proxy, make_hub: MakeHub, tmp_path: Path, host: str, path: str
) -> None:
    """A proxy is not asked for a private address, however it is written."""
    hub = make_hub(PUBLIC, proxy=proxy.url)
    with pytest.raises(errors.UnsafeAddressError, match="allow_private"):
        await hub.download(f"http://{host}{path}", tmp_path / "a")
    with pytest.raises(errors.DownloadError):
        await hub.download(f"https://{host}:8443{path}", tmp_path / "a")
    assert proxy.asked == []
    assert names(tmp_path) == []


@pytest.mark.parametrize("host", [*DISGUISED[:2], "169.254.169.254.", "0xa9fea9fe", "010.0.0.1"])
async def test_metadata_behind_a_proxy_is_never_allowed(
    proxy: Proxy, make_hub: MakeHub, tmp_path: Path, host: str
) -> None:
    """`allow_private` opens neither metadata addresses nor unusual forms of an address."""
    hub = make_hub(PUBLIC, proxy=proxy.url)
    with pytest.raises(errors.UnsafeAddressError, match="always refused"):
        await hub.download(f"http://{host}/x", tmp_path / "a", allow_private=True)
    assert proxy.asked == []


@pytest.mark.parametrize("with_proxy", [True, False])
@pytest.mark.parametrize("host", NO_HOST)
async def test_host_that_is_none(
    proxy: Proxy, make_hub: MakeHub, tmp_path: Path, host: str, with_proxy: bool
) -> None:
    """A host with percent signs or other marks is refused, whoever would connect to it."""
    hub = make_hub(PUBLIC, proxy=proxy.url if with_proxy else "")
    for path in ("/x", "/\u00e9"):
        with pytest.raises(errors.DownloadError, match="neither a name nor an IP address"):
            await hub.download(f"http://{host}{path}", tmp_path / "a", allow_private=True)
    assert proxy.asked == []
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("results.example", "results.example"),
        ("results.example.:8080", "results.example.:8080"),
        ("a_b-c.1.example", "a_b-c.1.example"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("93.184.215.14", "93.184.215.14"),
        ("\uff19\uff13.184.215.14", "93.184.215.14"),
        ("[2606:4700::1111]", "[2606:4700::1111]"),
    ],
)
async def test_public_address_behind_a_proxy(
    proxy: Proxy, make_hub: MakeHub, tmp_path: Path, host: str, asked: str
) -> None:
    """A proxy is asked for names and public addresses, in the form that was judged."""
    hub = make_hub(PUBLIC, proxy=proxy.url)
    await hub.download(f"http://{host}/x?a=%2f", tmp_path / "a")
    path = "/x?a=%2f" if host.isascii() else "/x?a=/"
    assert proxy.asked == [f"GET http://{asked}{path} HTTP/1.1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirected(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, status: int
) -> None:
    """Redirects to the same and to another host are followed, without the key."""
    here = f"{server.base_url}{PATH}?again"
    there = f"{server.other_origin}/results/other-0.png"
    for number, target in enumerate([here, there, PATH, "abc-0.png", f"//{here[7:]}"]):
        server.gets.script(b.RedirectResult(target, status=status))
        await hub.download(server.base_url + PATH, tmp_path / str(number))
    assert len(names(tmp_path)) == 5
    assert server.other_received
    for request in [*server.received, *server.other_received]:
        assert request.header("Authorization") is None
        assert request.header("Cookie") is None
        assert request.header("Referer") is None
        assert request.method == "GET"


async def test_how_many(server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path) -> None:
    """Five redirects are followed, a sixth is not."""
    server.gets.script(b.RedirectResult(times=5))
    await hub.download(server.base_url + PATH, tmp_path / "a")
    server.gets.script(b.RedirectResult(times=6))
    with pytest.raises(errors.DownloadError, match="more than 5 times"):
        await hub.download(server.base_url + PATH, tmp_path / "b")
    server.gets.always(b.Redirect(302))
    with pytest.raises(errors.DownloadError, match="more than 5 times"):
        await hub.download(server.base_url + PATH, tmp_path / "b")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("target", "allowed"),
    # A caller may allow private networks, which would then be connected to; but not these.
    [
        *((target, False) for target in NEVER),
        *((NEVER[index], True) for index in (3, 5, 7, 11)),
    ],
)
async def test_redirected_to_a_private_address(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, target: str, allowed: bool
) -> None:
    """A gateway on this machine opens the way to this machine, not to its network or metadata."""
    server.gets.always(b.RedirectResult(target))
    with pytest.raises(errors.DownloadError, match=r"allow_private|not a canonical"):
        await hub.download(server.base_url + PATH, tmp_path / "a", allow_private=allowed)
    assert len(server.received) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("", errors.DownloadError),
        ("ftp://x/y", errors.DownloadError),
        ("file:///etc/passwd", errors.DownloadError),
        ("javascript:alert(1)", errors.DownloadError),
        ("http://[x", errors.DownloadError),
        ("http://", errors.DownloadError),
        ("http://host:0/", errors.DownloadError),
        ("http://host:99999/", errors.DownloadError),
        ("http://me:pw@127.0.0.1/x", errors.DownloadError),
        ("http://me@127.0.0.1/x", errors.DownloadError),
        (f"http://{'a' * 64}.example/x", errors.DownloadError),
        ("http://a..b/x", errors.DownloadError),
        ("http://\u00e9\u00e9.invalid\udcff/x", errors.DownloadError),
    ],
)
async def test_redirected_to_nonsense(
    server: MisbehavingServer,
    hub: AsyncChainHub,
    tmp_path: Path,
    location: str,
    error: type[errors.DownloadError],
) -> None:
    """An address that is none ends the download with an error of this package."""

    class Nonsense(f.Fault):
        async def act(self, x: Any) -> None:
            await x.reply(Reply(302, headers=(("Location", location),)))

    server.gets.always(Nonsense())
    with pytest.raises(error) as caught:
        await hub.download(server.base_url + PATH, tmp_path / "a")
    assert str(caught.value).isprintable()
    assert len(server.received) <= 6
    assert names(tmp_path) == []


async def test_from_https_to_http(authority: trustme.CA, make_hub: MakeHub, tmp_path: Path) -> None:
    """A redirect from https to http is not followed; one to https is."""

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(made)
        return made

    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with (
        MisbehavingServer(ssl_context=context()) as secure,
        MisbehavingServer(ssl_context=context(), other_ssl_context=context()) as both,
    ):
        hub = make_hub(secure, ssl_context=trust)
        secure.gets.script(b.RedirectResult(secure.other_origin + PATH))
        with pytest.raises(errors.UnsafeAddressError, match="from https to unencrypted http"):
            await hub.download(secure.base_url + PATH, tmp_path / "a")
        assert not secure.other_received
        both.gets.script(b.RedirectResult(both.other_origin + PATH))
        await hub.download(both.base_url + PATH, tmp_path / "b")
        # And TLS is verified for results too.
        with pytest.raises(errors.DownloadError, match="cannot be used"):
            await make_hub(secure).download(secure.base_url + PATH, tmp_path / "c")
        await hub.aclose()
    assert names(tmp_path) == ["b"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize(
    "query",
    [
        "?sig=a%2Fb%7E%20c+d%2B%3D&x='y'&exp=1",
        "?a=%e2%82%ac&b=(1)*;c,!",
        "?Policy=eyJ-&Signature=~a_b-&Key-Pair-Id=K",
    ],
)
async def test_address_is_sent_as_it_is(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path, query: str
) -> None:
    """A signed address arrives letter for letter, also behind a redirect."""
    await hub.download(server.base_url + PATH + query, tmp_path / "a")
    server.gets.script(b.RedirectResult(f"{server.base_url}{PATH}{query}"))
    await hub.download(server.base_url + PATH, tmp_path / "b")
    sent = [request.path for request in server.received]
    assert sent == [PATH + query, PATH, PATH + query]


async def test_address_that_needs_encoding(
    server: MisbehavingServer, hub: AsyncChainHub, tmp_path: Path
) -> None:
    """Letters that may not stand in an address are encoded, and a fragment is not sent."""
    await hub.download(f"{server.base_url}{PATH}?p=\u00e9 b#part", tmp_path / "a")
    assert server.received[0].path == f"{PATH}?p=%C3%A9+b"


@pytest.mark.parametrize("url", ["", "cat.png", "ftp://x/y", "http://", "http://u:p@127.0.0.1/x"])
async def test_no_address(hub: AsyncChainHub, tmp_path: Path, url: str) -> None:
    """What is no address is refused before any connection."""
    with pytest.raises(errors.DownloadError):
        await hub.download(url, tmp_path / "a")


async def test_withheld(hub: AsyncChainHub, tmp_path: Path) -> None:
    """An image that was withheld has no address."""
    with pytest.raises(errors.InvalidRequestError, match="withheld"):
        await hub.download(GeneratedImage(url=None), tmp_path / "a")
    with pytest.raises(errors.InvalidRequestError, match="is a int"):
        await hub.download(3, tmp_path / "a")  # type: ignore[arg-type]  # misuse on purpose


async def test_gateways_own_network(
    make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway in a private network opens that kind of network; a failed look-up is repeated."""
    answers: list[Any] = [OSError("no answer"), [(2, 1, 6, "", ("10.1.2.3", 0))]]

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        assert host == "gateway.internal"
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    downloader = make_hub("http://gateway.internal")._downloader
    for _ in range(2):  # not at once: a name server that hangs would keep a thread for each
        assert await downloader._networks() == {Network.PUBLIC}
    monkeypatch.setattr(download, "_LOOK_UP_AGAIN", 0)
    for _ in range(3):
        assert await downloader._networks() == {Network.PUBLIC, Network.PRIVATE}
