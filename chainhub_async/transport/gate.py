"""The gate every call passes before it gets a connection: concurrency, rate, and pauses.

Fair: calls start in the order they arrived. Belongs to one event loop.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque

import anyio

from chainhub_async.config import Limits
from chainhub_async.errors import InvalidOptionError

_MINUTE = 60.0
# After a 429 the limit is halved; this many successful calls raise it again by one.
_GOOD_CALLS_PER_STEP = 20


def never_fits(images: int, in_flight: int) -> InvalidOptionError:
    """Returns the error for a call that makes more images than may be in flight."""
    return InvalidOptionError(
        f"A call for {images} images can never start: Limits(in_flight={in_flight}) allows fewer "
        "at a time."
    )


class _Inside:
    """What surrounds a call inside the gate. A generator would cost several times as much."""

    def __init__(self, gate: Gate, weight: int) -> None:
        self._gate = gate
        self._weight = weight

    async def __aenter__(self) -> None:
        await self._gate._enter(self._weight)  # noqa: SLF001 - its own

    async def __aexit__(self, *_: object) -> None:
        self._gate._leave(self._weight)  # noqa: SLF001 - its own


class Gate:
    """Limits shared by all calls of a client.

    Attributes:
        in_flight: images being generated now.
        limit: how many may be at the moment, or None.
    """

    def __init__(self, limits: Limits) -> None:
        self.in_flight: int = 0
        self.limit: float | None = limits.in_flight
        self._most = limits.in_flight
        self._per_minute = limits.per_minute
        self._starts: deque[float] = deque()
        # In the order of arrival. Not a deque: calls leave it from anywhere when cancelled.
        self._queue: OrderedDict[int, anyio.Event] = OrderedDict()
        self._numbers = itertools.count()
        self._good = 0
        self._closed_until = 0.0
        self._slowed_at = 0.0

    def enter(self, weight: int) -> _Inside:
        """Waits until `weight` images may start, and counts them while inside; an `async with`.

        A call that makes no image does not count and does not queue behind those that do; only a
        pause holds it back.
        """
        return _Inside(self, weight)

    async def _enter(self, weight: int) -> None:
        if weight:
            await self._wait_turn(weight)
        else:
            await self._wait_open()
        self.in_flight += weight

    def _leave(self, weight: int) -> None:
        self.in_flight -= weight
        self._wake_first()

    def pause(self, seconds: float) -> None:
        """Starts no call for `seconds`."""
        self._closed_until = max(self._closed_until, anyio.current_time() + seconds)

    def slow_down(self, started: float) -> None:
        """A call that began at `started` got a 429: halve the limit.

        Calls in progress together are limited together, so they count as one.
        """
        if started < self._slowed_at:
            return
        self._good, self._slowed_at = 0, anyio.current_time()
        self.limit = max(1, (self.in_flight if self.limit is None else self.limit) // 2)

    def succeeded(self) -> None:
        """A call succeeded: gradually raise the limit again."""
        self._good += 1
        if self._good >= _GOOD_CALLS_PER_STEP:
            self._good = 0
            if self.limit is not None:
                self.limit = min(self._most or math.inf, self.limit + 1)
                self._wake_first()

    async def _wait_turn(self, weight: int) -> None:
        if self._is_free(weight):
            return
        number = next(self._numbers)
        self._queue[number] = anyio.Event()
        try:
            while (wait := self._seconds_to_wait(number, weight)) > 0:
                with anyio.move_on_after(wait):
                    await self._queue[number].wait()
                if self._queue[number].is_set():
                    self._queue[number] = anyio.Event()  # in the same place
            if self._per_minute is not None:
                self._starts.append(anyio.current_time())
        finally:
            del self._queue[number]
            self._wake_first()

    def _is_free(self, weight: int) -> bool:
        """Whether there is nothing to wait for."""
        return (
            not self._queue
            and self._per_minute is None
            and self._has_room(weight)
            and self._closed_until <= anyio.current_time()
        )

    async def _wait_open(self) -> None:
        # A loop, since a pause may be prolonged meanwhile.
        while self._closed_until > anyio.current_time():  # noqa: ASYNC110 - it ends by the clock
            await anyio.sleep_until(self._closed_until)

    def _seconds_to_wait(self, number: int, weight: int) -> float:
        """Returns 0 if it is this call's turn; `inf` means until woken."""
        if number != next(iter(self._queue)) or not self._has_room(weight):
            return math.inf
        now = anyio.current_time()
        while self._starts and now - self._starts[0] >= _MINUTE:
            self._starts.popleft()
        opens = self._closed_until
        if self._per_minute is not None and len(self._starts) >= self._per_minute:
            opens = max(opens, self._starts[0] + _MINUTE)
        return max(0.0, opens - now)

    def _has_room(self, weight: int) -> bool:
        # A call heavier than a limit that was halved goes alone.
        return self.limit is None or self.in_flight == 0 or self.in_flight + weight <= self.limit

    def _wake_first(self) -> None:
        if self._queue:
            self._queue[next(iter(self._queue))].set()
