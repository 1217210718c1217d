"""What crosses the boundary: the key, redirects, cookies, compressed and hostile answers."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from typing import Any

import anyio
import attrs
import pytest

from chainhub_async import Billed, errors
from chainhub_async.events import Event
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.http_bytes import Exchange, json_reply
from chainhub_async.testing.misbehaving import MisbehavingServer
from chainhub_async.transport.unpack import Unpacker, UnpackError

from .conftest import KEY, MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_redirect_not_followed(
    server: MisbehavingServer, make_hub: MakeHub, status: int, method: str
) -> None:
    """No call is sent on to another address; the error names it."""
    hub = make_hub(server)
    fault = b.Redirect(status, location=f"{server.other_origin}/elsewhere")
    server.always(fault)
    server.gets.always(fault)
    with pytest.raises(errors.RedirectError, match="elsewhere") as caught:
        await hub.request(method, "/some/path")
    assert caught.value.location == f"{server.other_origin}/elsewhere"
    assert len(server.received) == 1
    assert not server.other_received


async def test_key_goes_to_the_gateway_only(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """The key is on the calls and on nothing else."""
    hub = make_hub(server)
    await hub.ideogram.replace_background(photo_of(2000))
    await hub.request("POST", "/x", json={})
    assert [r.header("Authorization") for r in server.received] == [f"Bearer {KEY}"] * 2
    assert all("chainhub-async/" in (r.header("User-Agent") or "") for r in server.received)
    assert all(r.header("Accept-Encoding") == "identity" for r in server.received)


async def test_no_cookies(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Cookies that a server sets are not sent back."""
    hub = make_hub(server)
    server.script(b.Answer.json({"data": [{"url": "http://x/"}]}, headers=(("Set-Cookie", "a=b"),)))
    for _ in range(2):
        await hub.ideogram.replace_background(photo_of(2000))
    assert all(request.header("Cookie") is None for request in server.received)
    assert server.connections == 1


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
async def test_compressed_unasked(
    server: MisbehavingServer, make_hub: MakeHub, encoding: str
) -> None:
    """A whole compressed answer is read, although nobody asked for compression."""
    hub = make_hub(server)
    body = json.dumps({"data": [{"url": "http://x/"}]}).encode()
    packed = gzip.compress(body)
    if encoding == "deflate":
        packed = zlib.compress(body)
    server.script(b.Answer(body=packed, headers=(("Content-Encoding", encoding),)))
    assert (await hub.ideogram.replace_background(photo_of(2000))).images[0].url == "http://x/"


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
async def test_compression_never_asked_for(
    server: MisbehavingServer, make_hub: MakeHub, encoding: str
) -> None:
    """A compression that cannot be undone leaves open what came."""
    hub = make_hub(server)
    server.script(b.Answer(body=b"{}", headers=(("Content-Encoding", encoding),)))
    with pytest.raises(
        errors.InvalidReplyError, match="Content-Encoding is not supported"
    ) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert caught.value.billed is Billed.MAYBE


async def test_compressed_nonsense(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """What does not unpack is told so."""
    hub = make_hub(server)
    server.script(b.Answer(body=b"no gzip", headers=(("Content-Encoding", "gzip"),)))
    with pytest.raises(errors.InvalidReplyError, match="compressed data is invalid") as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert caught.value.billed is Billed.MAYBE


def test_unpacker_is_bounded() -> None:
    """Not more is unpacked than asked for, whatever the packed bytes hold."""
    unpacker = Unpacker("gzip")
    assert len(unpacker.feed(gzip.compress(bytes(10_000_000)), 1000)) == 1000
    with pytest.raises(UnpackError, match="ends early"):
        unpacker.end()


@pytest.mark.parametrize(
    "fault",
    [b.Oversized(3_000_000), b.Oversized(3_000_000, declared=False), g.GzipBomb()],
    ids=repr,
)
async def test_bounded_answer(server: MisbehavingServer, make_hub: MakeHub, fault: f.Fault) -> None:
    """At most one MiB of an answer is kept, decoded, and the rest never waited for."""
    hub = make_hub(server)
    server.script(fault)
    with pytest.raises(errors.InvalidReplyError, match="larger than 1,048,576") as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert len(caught.value.body) == 1_048_576
    assert caught.value.billed is Billed.YES


async def test_largest_answer(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """An answer of exactly the limit is read."""
    hub = make_hub(server)
    body = b'{"data": [{"url": "http://x/"}]}'
    server.script(b.Answer(body=body + b" " * (1_048_576 - len(body))))
    assert (await hub.ideogram.replace_background(photo_of(2000))).images


async def test_oversized_refusal(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """An error with an endless page is still the error that its status says."""
    hub = make_hub(server)
    server.script(b.Answer(413, body=b"x" * 2_000_000))
    with pytest.raises(errors.PayloadTooLargeError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert len(caught.value.body) == 1_048_576


@pytest.mark.parametrize("status", [401, 500])
async def test_echoed_key(
    server: MisbehavingServer,
    make_hub: MakeHub,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key that the server sends back is in no message, body, id, log or event."""
    events: list[Event] = []
    hub = make_hub(server, on_event=events.append)
    server.always(b.EchoKey(status))
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.APIError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    seen: list[Any] = [*caught.value.__dict__.values(), *events, *caught.value.attempts]
    assert KEY not in repr(seen) + str(caught.value) + caplog.text


@attrs.frozen
class Forged(f.Fault):
    """An error whose every text would drive a terminal or forge a log line."""

    async def act(self, x: Exchange) -> None:
        words = "\x1b[2J\r\nERROR forged\u2028\u202e\x07\x9b31m"
        body = {"error": {"message": words, "code": words}, "request_id": words}
        await x.reply(json_reply(body, status=400))


async def test_control_characters(
    server: MisbehavingServer, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """Control characters of the server are escaped in everything that is shown."""
    hub = make_hub(server)
    server.script(Forged())
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.BadRequestError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    shown = str(caught.value) + (caught.value.request_id or "") + caplog.text
    shown += caught.value.attempts[0].reason
    assert "ERROR forged" in shown
    assert not set(shown) & set("\x1b\r\u2028\u202e\x07\x9b")
    assert "\n" not in str(caught.value)


async def test_control_characters_in_framing(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Also when aiohttp quotes the bytes that it could not read."""
    hub = make_hub(server)

    @attrs.frozen
    class Garbage(f.Fault):
        async def act(self, x: Exchange) -> None:
            await x.wire.send(b"HTTP/1.1 200 OK\r\nX-\x1b[31m\x07: a\r\n\r\n")
            await x.end()

    server.script(Garbage())
    with pytest.raises(errors.InvalidReplyError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert str(caught.value).isprintable()


async def test_answer_to_no_request(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """An answer nobody asked for is not taken for that of the next call."""
    hub = make_hub(server)
    server.script(g.ExtraAnswer())
    first = await hub.ideogram.replace_background(photo_of(2000), prompt="first")
    second = await hub.ideogram.replace_background(photo_of(3000), prompt="second")
    assert (first.images[0].prompt, second.images[0].prompt) == ("first", "second")


async def test_late_answer_to_no_request(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Nor one that comes while the connection lies in the pool."""
    hub = make_hub(server)

    @attrs.frozen
    class Late(f.Fault):
        async def act(self, x: Exchange) -> None:
            good = x.good()
            await x.reply(good)
            await anyio.sleep(0.05)
            await x.reply(good)

    server.script(Late())
    first = await hub.ideogram.replace_background(photo_of(2000), prompt="first")
    await anyio.sleep(0.2)
    second = await hub.ideogram.replace_background(photo_of(3000), prompt="second")
    assert (first.images[0].prompt, second.images[0].prompt) == ("first", "second")


@pytest.mark.parametrize("size", [50_000, 9_900_000])
async def test_early_success(server: MisbehavingServer, make_hub: MakeHub, size: int) -> None:
    """A success that came before the request had left whole cannot be its own."""
    hub = make_hub(server)
    body = json.dumps({"data": [{"url": "http://wrong/"}]}).encode()
    server.script(f.EarlyStatus(200, body=body))
    result = await hub.ideogram.replace_background(photo_of(size))
    if size > 1_000_000:
        assert result.images[0].url != "http://wrong/"
        assert result.raw != body
        assert sum(server.billed.values()) == 1
