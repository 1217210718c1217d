"""A one-shot event that threads can wait for."""

from __future__ import annotations

import threading
from contextlib import suppress


class Latch:
    """Is set once and stays so. Thread-safe, and safe in signal handlers and finalizers.

    Not a `threading.Event`: its `wait` briefly holds a lock of its own, so that a signal handler
    which sets it just then would wait for ever.

    Attributes:
        is_set: whether it was set.
    """

    def __init__(self) -> None:
        self.is_set: bool = False
        # Held until it is set.
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Sets it and wakes all who wait. More than once does no harm."""
        self.is_set = True
        with suppress(RuntimeError):  # it was released before
            self._lock.release()

    def wait(self, longest: float) -> bool:
        """Waits for at most so many seconds, and returns whether it is set.

        If one is interrupted just as it wakes, others wake only when their time is over: wait in
        short pieces.
        """
        if not self.is_set and self._lock.acquire(timeout=longest):
            self.set()  # for whoever else waits
        return self.is_set
