"""TLS is verified, always, before a byte of a request leaves."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import attrs
import pytest
import trustme

from chainhub_async import AsyncChainHub, Billed, Timeout, errors
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import Wire
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import KEY, MakeHub, client_context, server_context
from .support import photo_of

pytestmark = pytest.mark.anyio

NOW = dt.datetime.now(dt.timezone.utc)
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize("size", [50_000, 2_000_000, 9_900_000])
async def test_own_authority(authority: trustme.CA, make_hub: MakeHub, size: int) -> None:
    """With a CA of one's own all works, at any size, and every byte is counted."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        hub = make_hub(server, ssl_context=client_context(authority))
        image = photo_of(size)
        for _ in range(2):
            assert (await hub.ideogram.replace_background(image)).images
        assert server.billed == {hashlib.sha256(image).hexdigest(): 2}
        assert server.connections == 1
        raw = await hub.request("POST", "/x", form={"a": "b"})
        assert raw.upload_complete
        assert raw.bytes_sent == server.received[-1].body_received
        await hub.aclose()


async def test_authority_from_a_file(
    authority: trustme.CA, make_hub: MakeHub, tmp_path: Path
) -> None:
    """As the documentation shows it."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        hub = make_hub(server, ssl_context=context)
        assert (await hub.request("POST", "/x", json={})).status == 200
        await hub.aclose()


WRONG: dict[str, dict[str, Any]] = {
    "unknown authority": {},
    "wrong host": {"name": "other.example"},
    "expired": {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY},
    "not yet valid": {"not_before": NOW + DAY, "not_after": NOW + 9 * DAY},
}


@pytest.mark.parametrize("kind", WRONG)
async def test_refused(authority: trustme.CA, make_hub: MakeHub, kind: str) -> None:
    """What cannot be verified is refused before anything is sent, and not tried again."""
    options = dict(WRONG[kind])
    signer = authority if options else trustme.CA()
    context = server_context(signer, options.pop("name", "127.0.0.1"), **options)
    async with MisbehavingServer(ssl_context=context) as server:
        hub = make_hub(server, ssl_context=client_context(authority))
        with pytest.raises(errors.CertificateError, match="before anything was sent") as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        assert not server.received
        assert server.connections == 1
        assert caught.value.billed is Billed.NO
        assert len(caught.value.attempts) == 1


async def test_self_signed_by_default(make_hub: MakeHub) -> None:
    """Without any context the system's authorities decide."""
    async with MisbehavingServer(ssl_context=server_context(trustme.CA(), "127.0.0.1")) as server:
        hub = make_hub(server)
        with pytest.raises(errors.CertificateError):
            await hub.ideogram.replace_background(photo_of(2000))
        assert not server.received


@attrs.frozen
class Speaks(f.ConnectionFault):
    """Answers the client's greeting with these bytes."""

    data: bytes = b""

    async def greet(self, wire: Wire) -> None:
        await wire.reader.read(1)
        await wire.send(self.data)
        await wire.finish()


_HELLO_1_1 = b"\x02\0\0\x26\x03\x02" + bytes(32) + b"\0\0\x2f\0"
OTHERS = {
    # Alert 70 is "protocol version" (RFC 8446 §6.2).
    "alert": b"\x15\x03\x01\0\x02\x02\x46",
    "TLS 1.1": b"\x16\x03\x02\0\x2a" + _HELLO_1_1,
    "plain HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("kind", OTHERS)
async def test_other_protocols(server: MisbehavingServer, make_hub: MakeHub, kind: str) -> None:
    """An old TLS, or none at all, is refused as well, and not tried again."""
    hub = make_hub(server.base_url.replace("http:", "https:"))
    server.always(Speaks(OTHERS[kind]))
    with pytest.raises(errors.CertificateError, match="before anything was sent") as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert server.connections == 1
    assert caught.value.billed is Billed.NO


@pytest.mark.parametrize("reset", [False, True])
async def test_handshake_cut(authority: trustme.CA, make_hub: MakeHub, reset: bool) -> None:
    """A handshake that breaks off proves that nothing was sent: it is tried again."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        hub = make_hub(server, ssl_context=client_context(authority))
        server.script(f.AcceptAndClose(reset))
        assert (await hub.ideogram.replace_background(photo_of(2000))).images
        assert server.connections == 2
        server.always(f.AcceptAndClose(reset))
        await hub.aclose()
        hub = make_hub(server, ssl_context=client_context(authority))
        with pytest.raises(errors.ConnectError) as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        assert type(caught.value) is errors.ConnectError
        assert len(caught.value.attempts) == 4


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def no_host_check() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    return context


def old_client() -> ssl.SSLContext:
    context = ssl.create_default_context()
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize("make", [unverified, no_host_check, old_client])
def test_context_that_does_not_verify(make: Callable[[], ssl.SSLContext]) -> None:
    """There is no switch to turn verification off."""
    with pytest.raises(errors.ConfigurationError):
        AsyncChainHub(KEY, ssl_context=make())


@pytest.mark.parametrize("value", [False, True, "no"])
def test_no_context_at_all(value: object) -> None:
    """Nor by what aiohttp takes for one."""
    with pytest.raises(errors.ConfigurationError):
        AsyncChainHub(KEY, ssl_context=value)  # type: ignore[arg-type]  # misuse on purpose


@pytest.mark.parametrize("trusting", [False, True])
async def test_borrowed_session_verifies(
    authority: trustme.CA, make_hub: MakeHub, trusting: bool
) -> None:
    """A borrowed session made with ssl=False still verifies, and is not closed."""
    async with (
        MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        context = client_context(authority) if trusting else None
        hub = make_hub(server, session=session, ssl_context=context)
        if trusting:
            assert (await hub.ideogram.replace_background(photo_of(2000))).images
        else:
            with pytest.raises(errors.CertificateError):
                await hub.ideogram.replace_background(photo_of(2000))
            assert not server.received
        await hub.aclose()
        assert not session.closed
        async with session.get(server.base_url + "/results/a-0.png") as reply:
            assert reply.status == 200


@pytest.mark.parametrize("good", [False, True])
async def test_borrowed_context(authority: trustme.CA, make_hub: MakeHub, good: bool) -> None:
    """The context of a borrowed session is used if it verifies, and refused if not."""
    context = client_context(authority) if good else unverified()
    async with (
        MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
    ):
        hub = make_hub(server, session=session)
        if good:
            assert (await hub.ideogram.replace_background(photo_of(2000))).images
        else:
            with pytest.raises(errors.ConfigurationError):
                await hub.ideogram.replace_background(photo_of(2000))
            assert not server.received


async def test_borrowed_settings_are_not_used(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A borrowed session's headers, cookies and time-outs change nothing of what is sent."""
    async with aiohttp.ClientSession(
        headers={"X-Mine": "1"},
        cookies={"a": "b"},
        timeout=aiohttp.ClientTimeout(total=0.001),
        raise_for_status=True,
    ) as session:
        hub = make_hub(server, session=session)
        await hub.ideogram.replace_background(photo_of(2000))
        (request,) = server.received
        assert request.header("X-Mine") is None
        assert request.header("Cookie") is None
        assert request.header("Authorization") == f"Bearer {KEY}"


async def test_closed_borrowed_session(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A session that was closed before is told so."""
    session = aiohttp.ClientSession()
    await session.close()
    hub = make_hub(server, session=session)
    with pytest.raises(errors.ConfigurationError, match="closed"):
        await hub.ideogram.replace_background(photo_of(2000))


async def test_closing_is_quick(authority: trustme.CA, make_hub: MakeHub) -> None:
    """Closing waits for no farewell of the servers."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        hub = make_hub(server, ssl_context=client_context(authority))
        await hub.ideogram.replace_background(photo_of(2000))
        with anyio.fail_after(10):
            await hub.aclose()


def _without_goodbye(listening: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    """Answers every connection's one request, and closes without a close_notify, as many do."""
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        with context.wrap_socket(plain, server_side=True) as peer:
            peer.settimeout(20)
            head, _, body = peer.recv(65536).partition(b"\r\n\r\n")
            (length,) = re.findall(rb"(?i)content-length: *(\d+)", head)
            while len(body) < int(length):
                body += peer.recv(65536)
            peer.sendall(answer)


@pytest.mark.parametrize("told", [True, False], ids=["length", "until the end"])
async def test_the_end_of_a_large_answer(
    authority: trustme.CA, make_hub: MakeHub, told: bool
) -> None:
    """All that was sent before the connection ended arrives, although no goodbye came."""
    body = json.dumps("x" * 700_000).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
    length = b"Content-Length: %d\r\n" % len(body) if told else b""
    context = server_context(authority, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = (listening, context, head + length + b"\r\n" + body)
        threading.Thread(target=_without_goodbye, args=served, daemon=True).start()
        address = f"https://127.0.0.1:{listening.getsockname()[1]}"
        hub = make_hub(address, ssl_context=client_context(authority), timeout=Timeout(total=20))
        for _ in range(12):
            assert (await hub.request("POST", "/x", json={})).body == body
        listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
