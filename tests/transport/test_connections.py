"""Connections: kept ones that went stale, aiohttp's own resending, event loops, names."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from chainhub_async import AsyncChainHub, Billed, Limits, errors
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import bad_framing as g
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import KEY, QUICK, MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("reset", [False, True])
async def test_closed_behind_the_answer(
    server: MisbehavingServer, make_hub: MakeHub, reset: bool
) -> None:
    """A kept connection that the server has closed meanwhile is not used."""
    hub = make_hub(server)
    server.script(g.CloseAfterAnswer(reset=reset))
    await hub.ideogram.replace_background(photo_of(2000))
    await anyio.sleep(0.05)
    await hub.ideogram.replace_background(photo_of(3000))
    assert sum(server.billed.values()) == 2
    assert server.connections == 2


@pytest.mark.parametrize(
    ("size", "billed"), [(50_000, Billed.MAYBE), (9_900_000, Billed.NO)], ids=["50k", "9900k"]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_stale(
    server: MisbehavingServer, make_hub: MakeHub, reset: bool, size: int, billed: Billed
) -> None:
    """A kept connection that closes under the request: resent only if not all had left."""
    hub = make_hub(server)
    server.script(g.CloseAfterAnswer(on_next_request=True, reset=reset))
    await hub.ideogram.replace_background(photo_of(2000))
    image = photo_of(size)
    if billed is Billed.MAYBE:
        with pytest.raises(errors.ConnectionLostError) as caught:
            await hub.ideogram.replace_background(image)
        assert caught.value.billed is Billed.MAYBE
        assert server.connections == 1
    else:
        await hub.ideogram.replace_background(image)
        assert server.billed[hashlib.sha256(image).hexdigest()] == 1
        assert server.connections == 2


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH"])
async def test_nothing_is_resent_unseen(
    server: MisbehavingServer, make_hub: MakeHub, method: str
) -> None:
    """Aiohttp would send idempotent methods again by itself; a call that costs money is not."""
    hub = make_hub(server)
    server.gets.always(f.CloseAfter())
    server.always(f.CloseAfter())
    with pytest.raises(errors.ConnectionLostError) as caught:
        await hub.request(method, "/paid", json={"a": 1})
    assert caught.value.billed is Billed.MAYBE
    assert len(server.received) == 1


async def test_safe_methods_are_counted(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """What is sent again is sent by this package, and stands on the exception."""
    hub = make_hub(server)
    server.gets.always(f.CloseAfter())
    with pytest.raises(errors.ConnectionLostError) as caught:
        await hub.request("GET", "/free")
    assert caught.value.billed is Billed.NO
    assert len(caught.value.attempts) == len(server.received) == 4


async def test_refused(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """A refused connection is tried again, and costs nothing."""
    hub = make_hub(server)
    with server.refuse():
        with pytest.raises(errors.ConnectError) as caught:
            await hub.ideogram.replace_background(photo_of(2000))
        assert caught.value.billed is Billed.NO
        assert len(caught.value.attempts) == 4
        assert caught.value.attempts[0].phase == "connect"
    await hub.ideogram.replace_background(photo_of(2000))
    assert sum(server.billed.values()) == 1


class Resolver(AbstractResolver):
    """Names as a test wants them."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if host not in self.names:
            raise OSError(None, "no such name")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in self.names[host]
        ]

    async def close(self) -> None:
        pass


async def test_unknown_name(make_hub: MakeHub) -> None:
    """A name that is not known is asked for again, and named."""
    resolver = Resolver()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        hub = make_hub("http://nowhere.example", session=session)
        with pytest.raises(errors.NameResolutionError, match=r"nowhere\.example") as caught:
            await hub.ideogram.replace_background(photo_of(2000))
    assert caught.value.billed is Billed.NO
    assert len(caught.value.attempts) == resolver.asked == 4


@pytest.mark.parametrize("order", [["::1", "127.0.0.1"], ["127.0.0.1", "::1"]])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_two_addresses(make_hub: MakeHub, host: str, order: list[str]) -> None:
    """A name with two addresses of which one is refused is reached at the other, at once."""
    async with MisbehavingServer(host=host) as server:
        port = server.base_url.rpartition(":")[2]
        connector = aiohttp.TCPConnector(resolver=Resolver(both=order))
        async with aiohttp.ClientSession(connector=connector) as session:
            hub = make_hub(f"http://both:{port}", session=session)
            started = time.monotonic()
            await hub.ideogram.replace_background(photo_of(50_000))
            assert time.monotonic() - started < 10
        assert sum(server.billed.values()) == 1


async def test_ipv6_literal(make_hub: MakeHub) -> None:
    """An IPv6 address as base URL."""
    async with MisbehavingServer(host="::1") as server:
        assert (await make_hub(server).ideogram.replace_background(photo_of(2000))).images


async def test_limit_of_connections_outlives_failures(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """A place in the pool comes back from every kind of end."""
    hub = make_hub(server, limits=Limits(in_flight=None, connections=1))
    server.script(
        f.ResetAfter(10), f.CloseAfter(), b.Stall(), f.EarlyStatus(401, polite=False), f.CutBody()
    )
    for _ in range(5):
        with anyio.fail_after(20):
            try:
                await hub.ideogram.replace_background(photo_of(50_000))
            except errors.ChainHubError:
                continue
    with anyio.fail_after(20):
        await hub.ideogram.replace_background(photo_of(50_000))


def test_one_loop_after_another() -> None:
    """A client serves a second `asyncio.run` when the first is over."""
    with MisbehavingServer.in_thread() as server:
        hub = AsyncChainHub(KEY, base_url=server.base_url, timeout=QUICK)

        async def call(close: bool) -> None:
            await hub.ideogram.replace_background(photo_of(2000))
            # Left open, its sockets are those of a loop that is gone.
            session: Any = hub._transport.pool._api
            for protocols in [*session.connector._conns.values()] if not close else []:
                for protocol, _ in protocols:
                    protocol.transport.abort()
            if close:
                await hub.aclose()
            await asyncio.sleep(0.01)

        asyncio.run(call(close=False))
        asyncio.run(call(close=True))
        with pytest.raises(errors.ClosedError):
            asyncio.run(call(close=True))
        assert sum(server.billed.values()) == 2


async def test_two_loops_at_once(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """Used on a second loop while the first one runs, a client says what to do."""
    hub = make_hub(server)
    await hub.ideogram.replace_background(photo_of(2000))

    def elsewhere() -> None:
        with pytest.raises(errors.ClosedError, match="one client for each loop"):
            asyncio.run(_call(hub))

    await anyio.to_thread.run_sync(elsewhere)
    await hub.ideogram.replace_background(photo_of(2000))


async def _call(hub: AsyncChainHub) -> None:
    await hub.ideogram.replace_background(photo_of(2000))


async def test_many_first_calls_on_a_second_loop() -> None:
    """Calls that come together to a new loop share one gate."""
    with MisbehavingServer.in_thread() as server:
        hub = AsyncChainHub(KEY, base_url=server.base_url, limits=Limits(in_flight=2))

        def first() -> None:
            asyncio.run(_call_and_close_sessions(hub))

        await anyio.to_thread.run_sync(first)
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(_call, hub)
        assert hub._transport.pool.gate.in_flight == 0
        assert server.connections <= 3
        await hub.aclose()


async def _call_and_close_sessions(hub: AsyncChainHub) -> None:
    await _call(hub)
    await hub._transport.pool._close_sessions()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [0, 1000, 300_000, 2_000_000, 9_900_000])
async def test_counts(
    server: MisbehavingServer, make_hub: MakeHub, tmp_path: Path, size: int
) -> None:
    """The bytes counted are the bytes received, from memory and from a file."""
    hub = make_hub(server)
    if not size:
        answer = await hub.request("POST", "/x")
        assert answer.bytes_sent == server.received[0].body_received == 0
        assert answer.upload_complete
        return
    path = tmp_path / "cat.png"
    path.write_bytes(photo_of(size))
    for image in (path, photo_of(size)):
        await hub.ideogram.replace_background(image, prompt="a")
    received = {request.body_received for request in server.received}
    assert len(received) == 1
    assert size < received.pop() < size + 1000


async def test_refused_in_plain_words(make_hub: MakeHub) -> None:
    """A refused connection is named by host, port and reason."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    hub = make_hub(f"http://127.0.0.1:{port}")
    with pytest.raises(errors.ConnectError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert f"127.0.0.1:{port}: Connection refused" in str(caught.value)
