"""Turns on the event loop, so that a thousand uploads leave time for whatever else runs on it.

What needs no thread and no waiting would otherwise be done for all of them at once.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

from chainhub_async.transport.running import running_loop

# Pieces of work in one turn of the loop. Each takes 0.05 to 0.5 ms.
_PIECES = 8


class _Turns:
    """The pieces of work of one event loop, in the order in which they were asked for.

    It does not refer to its loop, by which it is found, so that a loop left behind is freed.
    """

    def __init__(self) -> None:
        self._left = _PIECES
        # What has begun goes before what has not: the sooner it ends, the fewer are under way.
        self._begun: deque[Any] = deque()
        self._new: deque[Any] = deque()
        self._armed = False

    async def take(self, loop: Any, *, begun: bool) -> None:
        """Returns when there is time for a piece of work."""
        if not self._armed:
            self._armed = True
            loop.call_soon(self._next, loop)
        if self._left and not self._begun and (begun or not self._new):
            self._left -= 1
            return
        turn = loop.create_future()
        (self._begun if begun else self._new).append(turn)
        await turn

    def _next(self, loop: Any) -> None:
        self._left = _PIECES
        while self._left and (waiting := self._begun or self._new):
            turn = waiting.popleft()
            if not turn.done():  # cancelled
                turn.set_result(None)
                self._left -= 1
        self._armed = bool(self._begun or self._new)
        if self._armed:
            loop.call_soon(self._next, loop)


_of_loops: WeakKeyDictionary[Any, _Turns] = WeakKeyDictionary()


async def take_turn(*, begun: bool = False) -> None:
    """Returns when there is time for a piece of work: at once, or in one of the loop's next turns.

    Args:
        begun: whether it continues what had its turn before.
    """
    loop = running_loop()
    turns = _of_loops.get(loop)
    if turns is None:
        turns = _of_loops[loop] = _Turns()
    await turns.take(loop, begun=begun)
