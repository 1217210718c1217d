"""Endings at which the count of bytes, or the phase, is easily misjudged."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
from typing import Any

import aiohttp
import pytest
import trustme

from chainhub_async import AsyncChainHub, Billed, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer
from chainhub_async.transport import session as session_module
from chainhub_async.transport.messages import Request

from .conftest import KEY, MakeHub, client_context, server_context
from .support import photo_of

pytestmark = pytest.mark.anyio

LARGE = 8_000_000


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (f.EarlyStatus(413, polite=False), errors.ChainHubError),
        (f.EarlyStatus(413), errors.PayloadTooLargeError),
        (f.EarlyStatus(401, headers=(("Connection", "close"),)), errors.AuthenticationError),
        (f.ResetAfter(100_000), errors.ConnectionLostError),
        # Python 3.10 does not notice while it writes that the server has ended the stream.
        (f.CloseAfter(100_000), errors.TransportError),
        (b.Answer(413, headers=(("Connection", "close"),)), errors.PayloadTooLargeError),
    ],
    ids=repr,
)
async def test_tls_that_ends_in_the_middle(
    authority: trustme.CA, make_hub: MakeHub, fault: f.Fault, kind: type[errors.ChainHubError]
) -> None:
    """Whatever state asyncio's TLS transport is in then, the error is one of ours and judged."""
    async with MisbehavingServer(ssl_context=server_context(authority, "127.0.0.1")) as server:
        server.always(fault)
        hub = make_hub(server, ssl_context=client_context(authority))
        for _ in range(3):
            with pytest.raises(kind) as caught:
                await hub.ideogram.replace_background(photo_of(LARGE))
            assert caught.value.attempts
            assert caught.value.billed is not Billed.YES
        assert sum(server.billed.values()) <= 3


class QuietConnector(aiohttp.TCPConnector):
    """A caller's connector that does not pass traces on."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """Connects unseen."""
        return await super().connect(req, [], timeout)


async def test_a_connector_that_reports_nothing(server: MisbehavingServer) -> None:
    """The count of bytes is believed, not the phase: what was sent whole is not sent again."""
    server.always(f.ResetAfter())
    async with aiohttp.ClientSession(connector=QuietConnector()) as borrowed:
        hub = AsyncChainHub(KEY, base_url=server.base_url, session=borrowed)
        with pytest.raises(errors.ConnectionLostError) as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        await hub.aclose()
    assert caught.value.billed is Billed.MAYBE
    assert [attempt.phase for attempt in caught.value.attempts] == ["read"]
    assert sum(server.billed.values()) == 1


class NarrowSocket(socket.socket):
    """A socket with a send buffer as over a real network."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)


@pytest.mark.parametrize("size", [200_000, 255_000])
async def test_a_tail_that_is_still_buffered_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, make_hub: MakeHub, size: int
) -> None:
    """A small image whose end asyncio still holds at a reset was not sent, and is sent again."""
    monkeypatch.setattr(session_module, "socket", NarrowSocket)

    async def read_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        await asyncio.sleep(0.1)
        peer = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    listening.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(read_and_reset, sock=listening, limit=2048)
    hub = make_hub(f"http://127.0.0.1:{listening.getsockname()[1]}")
    with pytest.raises(errors.ConnectionLostError) as caught:
        await hub.ideogram.replace_background(photo_of(size))
    server.close()
    assert caught.value.billed is Billed.NO
    assert len(caught.value.attempts) == 3
    assert all(attempt.bytes_sent < attempt.bytes_total for attempt in caught.value.attempts)


async def test_a_page_of_headings_is_read_at_once(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """A text made to be searched in quadratic time costs no time."""
    server.always(b.Answer(400, body=json.dumps("<h1" * 349_000).encode()))
    started = time.monotonic()
    with pytest.raises(errors.BadRequestError):
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("status", [200, 401])
async def test_a_key_echoed_in_another_encoding(
    server: MisbehavingServer, make_hub: MakeHub, encoding: str, status: int
) -> None:
    """JSON in any encoding it may have is understood, and the key in it hidden."""
    body = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode(encoding)
    server.always(b.Answer(status, body=body))
    with pytest.raises(errors.APIError, match="bad key") as caught:
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert KEY not in f"{caught.value!r} {caught.value.attempts}"
    assert KEY.encode(encoding) not in caught.value.body
    assert KEY.encode() not in caught.value.body


@pytest.mark.parametrize(
    "head",
    [
        f"HTTP/1.1 200 OK\r\nX-Key: {KEY}\r\nX-Cut: a",
        f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nX-Long: {'x' * 8185}{KEY}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n",
    ],
    ids=["cut", "no colon", "too long", "no number"],
)
async def test_a_key_echoed_in_a_broken_head(
    server: MisbehavingServer, make_hub: MakeHub, head: str
) -> None:
    """What aiohttp quotes of a head that it cannot read never shows the key, nor a part of it."""
    server.always(Raw(head.encode()))
    with pytest.raises(errors.TransportError) as caught:
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert KEY[:12] not in f"{caught.value!r} {caught.value.attempts}"


class Raw(f.Fault):
    """Answers with bytes as they are, and closes."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        object.__setattr__(self, "_data", data)

    async def act(self, x: Any) -> None:
        """Sends them."""
        await x.wire.send(vars(self)["_data"])
        x.keep_alive = False


async def test_what_follows_a_compressed_response_is_refused(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """Endless bytes behind the end of a gzip stream are not kept."""
    body = gzip.compress(b"{}") + bytes(500_000)
    server.always(b.Answer(200, headers=(("Content-Encoding", "gzip"),), body=body))
    with pytest.raises(errors.InvalidReplyError, match="followed by more data"):
        await make_hub(server).ideogram.replace_background(photo_of(2000))


@pytest.mark.parametrize(
    "body",
    [
        {"code": "429", "data": [{"url": "http://r/x.png"}]},
        {"code": 400, "data": {"task_id": "t-1", "task_status": "submitted"}},
    ],
)
async def test_a_refusal_beside_a_result_proves_nothing(
    server: MisbehavingServer, make_hub: MakeHub, body: dict[str, Any]
) -> None:
    """A code that refuses, in a response that has a result, may have been billed."""
    server.always(b.Answer.json(body))
    with pytest.raises(errors.EnvelopeError) as caught:
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert caught.value.billed is Billed.MAYBE


async def test_a_bug_does_not_hide_what_may_be_owed(
    server: MisbehavingServer, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Should this package itself fail after an upload, the caller still learns of the money."""
    hub = make_hub(server)

    def broken(_: object) -> None:
        raise ZeroDivisionError("a bug")

    transport = hub._transport
    request = errors_request(hub)
    with pytest.raises(errors.ChainHubError, match="Unexpected ZeroDivisionError") as caught:
        await transport.send(request, broken)
    assert caught.value.billed is Billed.MAYBE
    assert caught.value.__cause__ is None
    assert "a bug in chainhub_async" in caplog.text


def errors_request(hub: AsyncChainHub) -> Any:
    """A call that costs money."""
    return Request(method="POST", path="/x", content=b"{}", timeout=hub._transport.config.timeout)


PAID = b'{"data": [{"url": "https://results.example/a.png"}]}'


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s}\0<!-- -->" % (len(PAID), PAID),
        b"HTTP/1.1 200 OK\r\nContent-Length: 52\r\nContent-Length: 53\r\n\r\n" + PAID,
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n" + PAID,
        b"HTTP/1.1 200 OK\r\nX-Key: %s\r\nX: %s" % (KEY.encode(), PAID),
    ],
    ids=["trailing bytes", "two lengths", "no colon", "headers cut"],
)
async def test_a_paid_response_that_is_not_quite_http_is_kept(
    server: MisbehavingServer, make_hub: MakeHub, response: bytes
) -> None:
    """Its bytes stand on the error: the address of the image may be among them, the key is not."""
    server.script(f.AnswerWell(), Raw(response))
    hub = make_hub(server)
    await hub.ideogram.replace_background(photo_of(2000))  # on the connection that is used again
    with pytest.raises(errors.TransportError) as caught:
        await hub.ideogram.replace_background(photo_of(3000))
    assert caught.value.billed is Billed.MAYBE
    assert PAID in caught.value.body
    assert KEY.encode() not in caught.value.body
    assert server.connections == 1


async def test_what_is_kept_is_bounded(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Endless interim responses do not fill the memory."""
    server.always(f.Flood1xx(interval=0))
    with pytest.raises(errors.DeadlineError) as caught:
        await make_hub(server).ideogram.replace_background(photo_of(2000))
    assert 100_000 < len(caught.value.body) <= 1024 * 1024
