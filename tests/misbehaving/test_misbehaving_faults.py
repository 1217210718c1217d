"""Each fault is what it says, seen by a client that speaks raw bytes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from chainhub_async.testing import faults as f
from chainhub_async.testing.bad_framing import CloseAfterAnswer, Delay

if TYPE_CHECKING:
    from chainhub_async.testing.misbehaving import MisbehavingServer

    from .conftest import Client

pytestmark = pytest.mark.anyio


def only(counter: dict[str, int]) -> int:
    """The one image's count."""
    return sum(counter.values())


@pytest.mark.parametrize("reset", [True, False])
async def test_accept_and_close(server: MisbehavingServer, client: Client, reset: bool) -> None:
    """The connection ends before anything was read, and only the next one is served."""
    server.script(f.AcceptAndClose(reset))
    raw = await client.connect(server.base_url)
    if reset:
        with pytest.raises(ConnectionResetError):
            await raw.rest()
    else:
        assert await raw.rest() == b""
    assert server.connections == 1
    assert not server.received
    assert (await (await client.post(server)).reply())[0] == 200


async def test_connection_fault_on_an_old_connection(
    server: MisbehavingServer, client: Client
) -> None:
    """A connection fault also ends a kept-alive connection, before the next body."""
    raw = await client.post(server)
    await raw.reply()
    server.script(f.AcceptAndClose(reset=True))
    await raw.send(client.form())
    with pytest.raises(ConnectionError):
        await raw.rest()
    assert server.received[1].fault == f.AcceptAndClose(reset=True)
    assert only(server.billed) == 1


async def test_accept_and_hang(server: MisbehavingServer, client: Client) -> None:
    """Every connection is accepted, and none is ever answered, while the fault is there."""
    server.always(f.AcceptAndHang())
    for _ in range(2):
        raw = await client.post(server)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.1)
    assert not server.received


@pytest.mark.parametrize("after", [0, 100, None])
async def test_reset_after(server: MisbehavingServer, client: Client, after: int | None) -> None:
    """A reset, and a charge only if the whole body was there."""
    server.script(f.ResetAfter(after))
    with pytest.raises(ConnectionError):
        await (await client.post(server)).rest()
    record = server.received[0]
    assert record.body_complete == (after is None)
    assert only(server.billed) == only(server.complete) == (after is None)
    if after is not None:
        assert record.body_received == after
        assert record.image is None


@pytest.mark.parametrize("after", [100, None])
async def test_close_after(server: MisbehavingServer, client: Client, after: int | None) -> None:
    """A clean end of stream without one byte of an answer."""
    server.script(f.CloseAfter(after))
    assert await (await client.post(server)).rest() == b""
    assert only(server.billed) == (after is None)


async def test_stop_reading(server: MisbehavingServer, client: Client) -> None:
    """A body larger than what the kernels take is stuck in the client."""
    server.script(f.StopReading(1000))
    raw = await client.connect(server.base_url)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(raw.send(client.form(bytes(30_000_000))), 0.5)
    assert server.received[0].body_received == 1000
    assert only(server.complete) == 0


@pytest.mark.parametrize("after", [0, 100])
async def test_polite_early_status(server: MisbehavingServer, client: Client, after: int) -> None:
    """The answer comes before the body's end, which is then still taken, and not charged for."""
    server.script(f.EarlyStatus(413, after=after, headers=(("X-A", "b"),), body=b"big"))
    raw = await client.connect(server.base_url)
    request = client.form()
    await raw.send(request[:-20])
    status, headers, body = await raw.reply()
    assert (status, headers["x-a"], body) == (413, "b", b"big")
    assert not server.received[0].body_complete
    await raw.send(request[-20:])
    assert await raw.rest() == b""
    assert (only(server.complete), only(server.billed)) == (1, 0)


async def test_impolite_early_status(server: MisbehavingServer, client: Client) -> None:
    """The connection is reset right behind the status."""
    server.script(f.EarlyStatus(413, polite=False))
    raw = await client.connect(server.base_url)
    await raw.send(client.form()[:-20])
    with pytest.raises(ConnectionResetError):  # noqa: PT012 - some write meets the reset
        for _ in range(100):
            await raw.send(b"a")
            await asyncio.sleep(0.01)
    assert only(server.complete) == 0


async def test_no_answer(server: MisbehavingServer, client: Client) -> None:
    """Silence, after the image was received and charged for."""
    server.script(f.NoAnswer())
    raw = await client.post(server)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(raw.reader.read(1), 0.2)
    assert only(server.billed) == 1


@pytest.mark.parametrize("fault", [f.CutHead(20), f.CutBody(5)])
async def test_cut(server: MisbehavingServer, client: Client, fault: f.Fault) -> None:
    """A part of the good reply, then a clean end."""
    server.script(fault)
    answer = await (await client.post(server)).rest()
    if isinstance(fault, f.CutHead):
        assert answer == b"HTTP/1.1 200 -\r\nContent-"[:20]
    else:
        assert answer.partition(b"\r\n\r\n")[2] == b'{"cre'
    assert only(server.billed) == 1


async def test_cut_by_reset(server: MisbehavingServer, client: Client) -> None:
    """A part of the good reply may also end in a reset."""
    server.script(f.CutBody(5, reset=True))
    with pytest.raises(ConnectionResetError):
        await (await client.post(server)).rest()


@pytest.mark.parametrize("part", ["head", "body"])
async def test_drip(server: MisbehavingServer, client: Client, part: str) -> None:
    """A whole good reply that takes its time."""
    server.gets.script(f.Drip("body" if part == "body" else "head", size=16, interval=0.02))
    started = time.monotonic()
    raw = await client.get(server)
    await raw.reader.readuntil(b"\r\n\r\n")
    head_took = time.monotonic() - started
    await raw.reader.readuntil(b"IEND\xaeB`\x82")
    assert time.monotonic() - started > 0.1
    assert (head_took > 0.05) == (part == "head")


async def test_endless_headers(server: MisbehavingServer, client: Client) -> None:
    """Headers go on for as long as anybody reads."""
    server.script(f.EndlessHeaders(interval=0))
    data = await (await client.post(server)).reader.readexactly(1_000_000)
    assert data.startswith(b"HTTP/1.1 200 OK\r\nX-Filler-0: ")
    assert b"\r\n\r\n" not in data


async def test_flood_1xx(server: MisbehavingServer, client: Client) -> None:
    """Interim replies, so many or without end, before the good one."""
    server.script(f.Flood1xx(3, interval=0), f.Flood1xx(status=102, interval=0))
    raw = await client.post(server)
    assert await raw.reader.readexactly(3 * 18) == b"HTTP/1.1 103 -\r\n\r\n" * 3
    assert (await raw.reply())[0] == 200
    raw = await client.post(server)
    assert await raw.reader.readexactly(1800) == b"HTTP/1.1 102 -\r\n\r\n" * 100


@pytest.mark.parametrize("reset", [True, False])
async def test_stale_keep_alive(server: MisbehavingServer, client: Client, reset: bool) -> None:
    """A second request on the kept connection finds it closing, and is not received."""
    server.script(CloseAfterAnswer(on_next_request=True, reset=reset))
    raw = await client.post(server)
    status, headers, _ = await raw.reply()
    assert status == 200
    assert "connection" not in headers
    await raw.send(client.form())
    if reset:
        with pytest.raises(ConnectionError):
            await raw.rest()
    else:
        assert await raw.rest() == b""
    assert (len(server.received), only(server.complete)) == (1, 1)


async def test_close_after_answer(server: MisbehavingServer, client: Client) -> None:
    """Keep-alive is promised and broken at once."""
    server.script(CloseAfterAnswer())
    raw = await client.post(server)
    assert (await raw.reply())[0] == 200
    assert await raw.rest() == b""


async def test_delay(server: MisbehavingServer, client: Client) -> None:
    """Another fault, later; what it executes is what counts."""
    server.script(Delay(0.2, f.CloseAfter(executes=False)))
    started = time.monotonic()
    assert await (await client.post(server)).rest() == b""
    assert time.monotonic() - started >= 0.19
    assert (only(server.complete), only(server.billed)) == (1, 0)
    assert Delay(1).executes
