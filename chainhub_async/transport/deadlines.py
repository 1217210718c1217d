"""One attempt's deadlines: a cancel scope whose end moves from phase to phase.

It moves with every step of an upload, mostly to later. Moving a timer each time costs more than
all the rest, so one timer stays where it is, and looks when it goes off whether it is time.
"""

from __future__ import annotations

import math
from typing import Any

import anyio

from chainhub_async.config import Timeout
from chainhub_async.transport.running import running_loop

# The slowest upload that may take its time, in bytes per second.
_SLOWEST_UPLOAD = 64_000

_WHAT = {
    "connect": "no connection was ready",
    "write": "the upload made no progress",
    "upload": "the upload was not finished",
    "read": "no response arrived",
    "reply": "the response was not complete",
    "attempt": "the attempt was not finished",
    "total": "the call was not finished",
}


class Deadlines:
    """Ends an attempt when its current phase, the attempt, or the whole call runs out of time.

    Attributes:
        scope: what the attempt runs in.
        phase: `connect`, `write`, `read` or `reply`.
        started: when the attempt left the queue for a connection, or None.
    """

    def __init__(self, timeout: Timeout, *, total_left: float | None, upload: int | None) -> None:
        self.scope: anyio.CancelScope = anyio.CancelScope()
        self.phase: str = "connect"
        self.started: float | None = None
        self._timeout = timeout
        self._total_left = total_left
        self._upload = upload
        self._bounds: dict[str, tuple[float, float]] = {}
        self._passed = "attempt"
        # The event loop's own timer: anyio has none but the deadline of a scope.
        self._loop = running_loop()
        self._timer: Any = None

    def connecting(self) -> None:
        """A connection is being made, or one was taken from the pool: the clock starts."""
        if self.started is None:
            self.started = self._loop.time()
            self._enter("connect", self._timeout.connect)
            self._bound("attempt", self._timeout.attempt)
            self._bound("total", self._total_left)
        else:
            self._enter("connect", self._timeout.connect)

    def connected(self) -> None:
        """The connection is ready."""
        if self.started is None:
            self.connecting()
        if self._upload is None:
            self._enter("read", self._timeout.read)
            return
        self._enter("write", self._timeout.write)
        if self._timeout.write is not None:
            self._bound("upload", max(self._timeout.write, self._upload / _SLOWEST_UPLOAD))

    def progressed(self, *, complete: bool) -> None:
        """Bytes of the body were sent; `complete` if they were the last."""
        if self.phase != "write":
            return
        if complete:
            self._bounds.pop("upload", None)
            self._enter("read", self._timeout.read)
        else:
            self._enter("write", self._timeout.write)

    def replying(self) -> None:
        """The response's headers have arrived."""
        self._bounds.pop("upload", None)
        self._enter("reply", self._timeout.reply)

    @property
    def spent(self) -> float:
        """Seconds since the attempt left the queue."""
        return 0.0 if self.started is None else self._loop.time() - self.started

    @property
    def passed(self) -> str:
        """The field of `Timeout` that expired."""
        return "write" if self._passed == "upload" else self._passed

    @property
    def sentence(self) -> str:
        """A sentence saying which deadline passed."""
        seconds, _ = self._bounds[self._passed]
        if self._passed == "total":
            # What earlier attempts left of it is not what the caller had set.
            seconds = self._timeout.total or seconds
        return f"After {seconds:g} s {_WHAT[self._passed]} (phase: {self.phase})"

    @property
    def due(self) -> float:
        """When the scope is cancelled if nothing happens until then."""
        return min((due for _, due in self._bounds.values()), default=math.inf)

    def end(self) -> None:
        """The attempt is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _enter(self, phase: str, seconds: float | None) -> None:
        self._bounds.pop(self.phase, None)
        self.phase = phase
        self._bound(phase, seconds)

    def _bound(self, name: str, seconds: float | None) -> None:
        if seconds is not None:
            due = self._loop.time() + seconds
            self._bounds[name] = (seconds, due)
            if self._timer is None or due < self._timer.when():
                self._watch(due)

    def _watch(self, due: float) -> None:
        self.end()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        due = self.due
        if due == math.inf:
            self._timer = None
        elif self._loop.time() < due:
            self._watch(due)
        else:
            self._passed = min(self._bounds, key=lambda name: self._bounds[name][1])
            self.scope.cancel()
