"""Wakes waiting threads, one after another.

A thread that is woken needs the GIL, and what holds it lets go at every system call: were many
woken at once, or did the loop go on meanwhile, they would take it from each other time and again.
(`benchmarks/blocking_calls.py` measures 64 threads.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from chainhub_async.latch import Latch

# Seconds for a whole chain, which breaks where a thread is interrupted or computes. Getting the GIL
# back comes on top.
_LONGEST_STAND = 0.005
# Where threads compute, a chain is of no use: after one that broke, threads are woken all at once
# so many times, and twice as many after each further one, up to the second number.
_FIRST_PAUSE, _LONGEST_PAUSE = 8, 512


class Sleeper(Protocol):
    """Stands for a thread that waits."""

    @abstractmethod
    def wake(self, then: Callable[[], None] | None) -> bool:
        """Wakes the thread, which calls `then` as soon as it runs; in any thread. Never raises.

        Of several times the last counts. Returns whether the thread waits, and will call it.
        """


class Waker:
    """Wakes the threads of a loop; on the loop."""

    def __init__(self) -> None:
        self._at_once = self._pause = 0

    def wake(self, sleepers: Sequence[Sleeper]) -> None:
        """Wakes threads; if it is of use, waits until each of them has run."""
        if len(sleepers) > 1 and not self._at_once:
            chain = _Chain(sleepers)
            chain.wake_next()
            if chain.wait():
                self._pause = 0
                if chain.woke_all:
                    return
            else:
                chain.cut()
                self._at_once = self._pause = min(
                    max(_FIRST_PAUSE, 2 * self._pause), _LONGEST_PAUSE
                )
        elif self._at_once:
            self._at_once -= 1
        # Waking a thread twice does no harm.
        for sleeper in sleepers:
            sleeper.wake(None)


class _Chain:
    """Threads of which each wakes the next."""

    def __init__(self, sleepers: Sequence[Sleeper]) -> None:
        self._sleepers = deque(sleepers)
        self._left = [*sleepers]
        self._end = Latch()

    @property
    def woke_all(self) -> bool:
        """Whether each was woken."""
        return not self._left

    def wake_next(self) -> None:
        """Wakes the next thread, or the loop after the last."""
        try:
            waits = False
            while not waits:
                waits = self._sleepers.popleft().wake(self.wake_next)
                # Not done if the thread that wakes is interrupted after it took one out.
                self._left.pop()
        except IndexError:
            # Reached more than once if a thread runs late, or woke by itself; then another may
            # still be about to wake one that it took out.
            self._end.set()

    def wait(self) -> bool:
        """Waits for the end, and returns whether it came in time."""
        return self._end.wait(_LONGEST_STAND)

    def cut(self) -> None:
        """From now on no thread wakes another."""
        self._sleepers.clear()
