"""Uploads take turns on the event loop, and leave time for others."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from chainhub_async.transport.turns import _PIECES, take_turn

pytestmark = pytest.mark.anyio


async def test_a_few_at_a_time() -> None:
    """A hundred pieces asked for at once are spread over many turns of the loop."""
    done: list[int] = []
    seen: list[int] = []

    async def piece(number: int) -> None:
        await take_turn()
        done.append(number)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(piece, number)
        while len(done) < 100:
            seen.append(len(done))
            await anyio.lowlevel.checkpoint()
    assert done == list(range(100))
    assert len(seen) > 100 // _PIECES // 2
    steps = [later - earlier for earlier, later in zip(seen, seen[1:])]  # noqa: B905, RUF007 - 3.10
    assert max(steps) <= 2 * _PIECES


async def test_what_has_begun_goes_first() -> None:
    """Uploads that wait for their next step overtake those that wait for their first."""
    order: list[str] = []

    async def piece(name: str, *, begun: bool) -> None:
        await take_turn(begun=begun)
        order.append(name)

    async with anyio.create_task_group() as group:
        for number in range(5 * _PIECES):
            group.start_soon(lambda: piece("new", begun=False), name=f"new {number}")
        await anyio.lowlevel.checkpoint()
        for number in range(5):
            group.start_soon(lambda: piece("begun", begun=True), name=f"begun {number}")
    assert order.count("begun") == 5
    assert order[-1] == "new"
    assert order.index("begun") <= 2 * _PIECES


async def test_those_who_left_are_passed_over() -> None:
    """A cancelled wait takes nobody else's turn."""
    done: list[int] = []

    async def piece(number: int) -> None:
        await take_turn()
        done.append(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group, anyio.create_task_group() as leaving:
            for _ in range(50):
                leaving.start_soon(take_turn)
            await anyio.lowlevel.checkpoint()
            group.start_soon(piece, 1)
            leaving.cancel_scope.cancel()
    assert done == [1]
