"""Wakes waiting threads, one after another.

A thread that is woken waits for the GIL. Were many woken at once, or did the loop go on meanwhile,
they would take it from each other at every system call, at the price of several context switches.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

# In seconds. A thread may not wake the next: its caller does not wait yet, or was interrupted.
_LONGEST_TURN = 0.005


class Sleeper(Protocol):
    """Stands for a thread that waits."""

    def wake(self, then: Callable[[], None]) -> None:
        """Wakes the thread, which calls `then` as soon as it runs. May be called again."""


class _Chain:
    """Threads of which each wakes the next."""

    def __init__(self, sleepers: Sequence[Sleeper]) -> None:
        self._sleepers = deque(sleepers)
        self._end = threading.Lock()
        self._end.acquire()

    def wake_next(self) -> None:
        """Wakes the next thread."""
        try:
            sleeper = self._sleepers.popleft()
        except IndexError:
            with suppress(RuntimeError):  # one that came too late had been woken twice
                self._end.release()
        else:
            sleeper.wake(self.wake_next)

    def has_ended(self) -> bool:
        """Waits until all threads have run, and returns whether they have."""
        return self._end.acquire(timeout=_LONGEST_TURN)

    def break_off(self) -> None:
        """Leaves the other threads asleep."""
        self._sleepers.clear()


def nothing() -> None:
    """Does nothing."""


def wake(sleepers: Sequence[Sleeper]) -> None:
    """Wakes threads, and waits until each of them has run, but not for long."""
    if len(sleepers) > 1:
        chain = _Chain(sleepers)
        chain.wake_next()
        if chain.has_ended():
            return
        chain.break_off()
    for sleeper in sleepers:
        sleeper.wake(nothing)
