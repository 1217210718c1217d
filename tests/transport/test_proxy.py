"""Proxies: given or from the environment; what they refuse, and what they never get to see."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from chainhub_async import Billed, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing.misbehaving import MisbehavingServer
from chainhub_async.transport.session import proxy_for

from .conftest import KEY, MakeHub, client_context, server_context
from .support import photo_of

pytestmark = pytest.mark.anyio


class Proxy:
    """A proxy for CONNECT and for addresses in full; answers `status` where that is not 200."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.status = 200
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def credentials(self) -> list[str]:
        return [
            base64.b64decode(line.split(" ")[-1]).decode()
            for head in self.heads
            for line in head.split("\r\n")
            if line.lower().startswith("proxy-authorization:")
        ]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        if self.status != 200:
            writer.write(f"HTTP/1.1 {self.status} -\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            await reader.read()
            return
        method, target, _ = head.split("\r\n")[0].split(" ")
        where = target.removeprefix("http://").partition("/")[0]
        host, _, port = where.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 -\r\n\r\n")
        else:
            path = "/" + target.removeprefix("http://").partition("/")[2]
            one = head.replace(target, path, 1)[:-2] + "Connection: close\r\n\r\n"
            back.write(one.encode("latin-1"))
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            back.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
async def proxy(anyio_backend: str) -> AsyncIterator[Proxy]:
    running = Proxy()
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield running
    server.close()
    await running.close()
    await server.wait_closed()


@pytest.mark.parametrize("size", [2000, 2_000_000])
async def test_tunnel(proxy: Proxy, authority: trustme.CA, make_hub: MakeHub, size: int) -> None:
    """An https gateway is reached through a tunnel, whose proxy never sees the key."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        url = proxy.url.replace("//", "//me:p%40ss@")
        hub = make_hub(server, proxy=url, ssl_context=client_context(authority))
        assert (await hub.ideogram.replace_background(photo_of(size))).images
        assert (await hub.ideogram.replace_background(photo_of(size))).images
        assert sum(server.billed.values()) == 2
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
        assert proxy.credentials() == ["me:p@ss"]
        assert KEY not in proxy.heads[0]
        await hub.aclose()


async def test_tunnel_verifies(proxy: Proxy, authority: trustme.CA, make_hub: MakeHub) -> None:
    """TLS inside the tunnel is verified as well."""
    async with MisbehavingServer(ssl_context=server_context(trustme.CA(), "127.0.0.1")) as server:
        hub = make_hub(server, proxy=proxy.url, ssl_context=client_context(authority))
        with pytest.raises(errors.CertificateError) as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        assert caught.value.billed is Billed.NO
        assert not server.received


async def test_plain(proxy: Proxy, server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A plain gateway is reached by its address in full, with the proxy's credentials."""
    hub = make_hub(server, proxy=proxy.url.replace("//", "//me:pw@"))
    assert (await hub.ideogram.replace_background(photo_of(2000))).images
    assert proxy.heads[0].startswith(f"POST {server.base_url}/ideogram")
    assert proxy.credentials() == ["me:pw"]
    assert sum(server.billed.values()) == 1


@pytest.mark.parametrize(("status", "attempts"), [(407, 1), (403, 1), (502, 4), (429, 4)])
async def test_tunnel_refused(
    proxy: Proxy,
    authority: trustme.CA,
    make_hub: MakeHub,
    status: int,
    attempts: int,
) -> None:
    """A proxy that refuses is told apart from the gateway; only its own trouble is retried."""
    proxy.status = status
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        url = proxy.url.replace("//", "//me:hidden-password@")
        hub = make_hub(server, proxy=url, ssl_context=client_context(authority))
        with pytest.raises(errors.ProxyError, match=f"the proxy responded with {status}") as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        assert len(caught.value.attempts) == len(proxy.heads) == attempts
        assert caught.value.billed is Billed.NO
        assert "hidden-password" not in repr(caught.value.__dict__) + repr(hub._transport)
        assert not server.connections


async def test_proxy_not_there(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A proxy that refuses connections."""
    with server.refuse():
        hub = make_hub("http://gateway.example", proxy=server.base_url.replace("//", "//me:pw@"))
        with pytest.raises(errors.ProxyError) as caught:
            await hub.ideogram.replace_background(photo_of(2000))
    assert "pw@" not in str(caught.value)
    assert len(caught.value.attempts) == 4


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_environment(
    proxy: Proxy, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The environment's proxy is used for other hosts, and never for this machine."""
    monkeypatch.setenv(name, proxy.url)
    proxy.status = 503
    hub = make_hub("http://gateway.example", timeout=None)
    with pytest.raises(errors.ServerError):
        await hub.ideogram.replace_background(photo_of(2000))
    assert proxy.heads[0].startswith("POST http://gateway.example/ideogram")
    async with MisbehavingServer() as server:
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://a.example/x", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example/x", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.example/x", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://a.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example"}, None),
        ("https://a.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, None),
        ("https://a.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("https://a.example:8/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example:8"}, None),
        ("https://a.example/x", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "b"}, "http://p:1"),
        ("https://localhost/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]:4/x", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://a.example/x", {"HTTPS_PROXY": ""}, None),
    ],
)
def test_choice(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str], expected: str | None
) -> None:
    """HTTPS_PROXY, NO_PROXY and their like mean what they mean to other programs."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url, None) == expected


@pytest.mark.parametrize("value", ["socks5://u:secret@p:1", "http://u:secret@p:99999", "http://"])
def test_unusable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A proxy of the environment that cannot be used is refused without showing its password."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(errors.ConfigurationError, match='proxy=""') as caught:
        proxy_for("https://a.example/", None)
    assert "secret" not in str(caught.value)


async def test_given_wins(
    proxy: Proxy, server: MisbehavingServer, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that was given is used even for this machine; an empty one means none."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    await make_hub(server, proxy=proxy.url).ideogram.replace_background(photo_of(2000))
    assert len(proxy.heads) == 1
    assert proxy_for("http://a.example/", None) == "http://127.0.0.1:1"
    await make_hub(server, proxy="").ideogram.replace_background(photo_of(2000))
    assert len(proxy.heads) == 1


async def test_netrc_is_not_used(
    server: MisbehavingServer, make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What ~/.netrc holds for the host is not sent, to the gateway or for a result."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pw\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    hub = make_hub(server)
    result = await hub.ideogram.replace_background(photo_of(2000))
    await hub.save(result, tmp_path / "out")
    post, get = server.received
    assert post.header("Authorization") == f"Bearer {KEY}"
    assert get.header("Authorization") is None


async def test_download_through_a_proxy(
    proxy: Proxy, server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path
) -> None:
    """A result is fetched through the proxy too, without the key; its redirects stay judged."""
    hub = make_hub(server, proxy=proxy.url)
    result = await hub.ideogram.replace_background(photo_of(2000))
    (saved,) = await hub.save(result, tmp_path)
    assert saved.exists()
    assert KEY not in proxy.heads[-1]
    for address in ("169.254.169.254", "10.0.0.1", "167772161", "0x0a.1", "[fd00::1]"):
        server.gets.script(b.RedirectResult(f"http://{address}/x"))
        with pytest.raises(errors.UnsafeAddressError):
            await hub.save(result, tmp_path)
    assert not [head for head in proxy.heads if "/x" in head.split("\r\n")[0]]
