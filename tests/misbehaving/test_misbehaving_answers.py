"""Answers that are whole and wrong, or break HTTP, byte for byte."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest

from chainhub_async.testing import bad_answers as b
from chainhub_async.testing.bad_framing import (
    BadFraming,
    ExtraAnswer,
    Framing,
    GzipBomb,
    Gzipped,
)
from chainhub_async.testing.http_bytes import result_png

if TYPE_CHECKING:
    from chainhub_async.testing.faults import Fault
    from chainhub_async.testing.misbehaving import MisbehavingServer

    from .conftest import Client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("fault", "status", "billed", "headers", "text"),
    [
        (b.Answer(418, headers=(("X-A", "b"),), body=b"tea"), 418, 0, {"x-a": "b"}, "tea"),
        (b.Answer(408, body=b""), 408, 1, {}, ""),
        (b.Answer.json({"code": 0}, headers=(("X-A", "b"),)), 200, 1, {"x-a": "b"}, '{"code": 0}'),
        (b.HtmlError(), 502, 1, {"content-type": "text/html; charset=utf-8"}, "<html>"),
        (b.HtmlError(413), 413, 0, {}, "<title>413"),
        (b.EmptyError(), 503, 1, {"content-length": "0"}, ""),
        (b.EmptyError(503, headers=(("Retry-After", "1"),)), 503, 0, {"retry-after": "1"}, ""),
        (b.EmptyError(500, executes=False), 500, 0, {}, ""),
        (b.Expired(), 403, 0, {"content-type": "application/xml"}, "AccessDenied"),
        (b.Expired(410), 410, 0, {}, "AccessDenied"),
        (b.EchoKey(), 401, 0, {"x-request-id": "Bearer sk-secret"}, "bad key: Bearer sk-secret"),
        (b.TooManyRequests(), 429, 0, {}, "slow down"),
        (b.TooManyRequests(7), 429, 0, {"retry-after": "7"}, ""),
        (b.TooManyRequests("soon"), 429, 0, {"retry-after": "soon"}, ""),
        (b.TooManyRequests(("1", "2")), 429, 0, {"retry-after": "2"}, ""),
        (b.Redirect(location="http://x/"), 307, 0, {"location": "http://x/"}, ""),
        (b.Redirect(303), 303, 1, {"location": "/ideogram/v1/ideogram-v3/replace-background"}, ""),
        (b.ErrorEnvelope("E1", "no"), 200, 0, {}, '"code": "E1", "message": "no"'),
        (b.WrongType(), 200, 1, {"content-type": "text/html"}, "Sign in"),
        (b.WrongType(None), 200, 1, {"content-type": "application/json"}, "Sign in"),
        (b.EmptyAnswer(), 200, 1, {"content-length": "0"}, ""),
    ],
    ids=repr,
)
async def test_answer(
    server: MisbehavingServer,
    client: Client,
    fault: Fault,
    status: int,
    billed: int,
    headers: dict[str, str],
    text: str,
) -> None:
    """The answer is as scripted, is charged for or not, and the connection stays usable."""
    server.script(fault)
    raw = await client.post(server)
    got_status, got_headers, body = await raw.reply()
    assert got_status == status
    assert headers.items() <= got_headers.items()
    assert text in body.decode()
    assert server.received[0].fault == fault
    assert (sum(server.complete.values()), sum(server.billed.values())) == (1, billed)
    await raw.send(client.form())
    assert (await raw.reply())[0] == 200


@pytest.mark.parametrize("kind", Framing)
async def test_bad_framing(server: MisbehavingServer, client: Client, kind: Framing) -> None:
    """The bytes come as they stand in the template, and the stream ends."""
    server.script(BadFraming(kind))
    data = await (await client.post(server)).rest()
    assert data.startswith(kind.value.partition(b"%b")[0])
    assert sum(server.billed.values()) == 1


async def test_extra_answer(server: MisbehavingServer, client: Client) -> None:
    """The second request on the connection is answered before it was sent."""
    server.script(ExtraAnswer())
    raw = await client.post(server)
    first = await raw.reply()
    assert await raw.reply() == first
    assert len(server.received) == 1


@pytest.mark.parametrize("declared", [True, False])
async def test_oversized(server: MisbehavingServer, client: Client, declared: bool) -> None:
    """So many bytes, with or without saying so before."""
    server.gets.script(b.Oversized(3_000_000, declared=declared))
    head, _, body = (await (await client.get(server)).rest()).partition(b"\r\n\r\n")
    assert len(body) == 3_000_000
    assert (b"Content-Length: 3000000" in head) == declared


@pytest.mark.parametrize("cut_at", [None, 30])
async def test_without_length(
    server: MisbehavingServer, client: Client, cut_at: int | None
) -> None:
    """Only the close ends the body, and a cut one looks the same."""
    server.gets.script(b.WithoutLength(cut_at))
    head, _, body = (await (await client.get(server)).rest()).partition(b"\r\n\r\n")
    assert b"Content-Length" not in head
    image = server.received[0].image
    assert image is not None
    assert body == result_png(image)[:cut_at]


async def test_stall(server: MisbehavingServer, client: Client) -> None:
    """A piece of the image, then nothing."""
    server.gets.script(b.Stall(8))
    raw = await client.get(server)
    await raw.reader.readuntil(b"\r\n\r\n")
    assert await raw.reader.readexactly(8) == b"\x89PNG\r\n\x1a\n"
    raw.writer.write_eof()
    assert await raw.rest() == b""


@pytest.mark.parametrize("cut", [True, False])
async def test_gzipped(server: MisbehavingServer, client: Client, cut: bool) -> None:
    """Compression nobody asked for, whole or cut within right framing."""
    server.script(Gzipped(cut=cut))
    _, headers, body = await (await client.post(server)).reply()
    assert headers["content-encoding"] == "gzip"
    if cut:
        with pytest.raises(EOFError):
            gzip.decompress(body)
    else:
        assert json.loads(gzip.decompress(body))["data"]


async def test_gzip_bomb(server: MisbehavingServer, client: Client) -> None:
    """A thousandth goes over the wire of what it decodes to."""
    server.script(GzipBomb(5_000_000))
    raw = await client.post(server)
    await raw.reader.readuntil(b"\r\n\r\n")
    wire = b""
    while size := int(await raw.reader.readline(), 16):
        wire += (await raw.reader.readexactly(size + 2))[:-2]
    assert len(wire) < 10_000
    assert zlib.decompress(wire, wbits=31) == b" " * 5_000_000


async def test_hostile_disposition(server: MisbehavingServer, client: Client) -> None:
    """A good image with a bad idea of where to go."""
    server.gets.script(b.HostileDisposition())
    _, headers, body = await (await client.get(server)).reply()
    assert "../../" in headers["content-disposition"]
    assert body.startswith(b"\x89PNG")


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_redirect_result(server: MisbehavingServer, client: Client, elsewhere: bool) -> None:
    """So many steps over this server for one entry of the script, then away or to the image."""
    goal = f"{server.other_origin}/x.png" if elsewhere else None
    server.gets.script(b.RedirectResult(goal, times=3), b.EmptyError(500))
    path = "/results/abc-0.png"
    for _ in range(3):
        status, headers, _ = await (await client.get(server, path)).reply()
        assert status == 302
        path = headers["location"]
    assert path == (goal or "/results/abc-0.png")
    assert (await (await client.get(server, "/results/abc-0.png")).reply())[0] == 500
