"""One attempt's deadlines: a cancel scope whose end moves from phase to phase."""

from __future__ import annotations

import math

import anyio

from chainhub_async.config import Timeout

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

    def connecting(self) -> None:
        """A connection is being made, or one was taken from the pool: the clock starts."""
        if self.started is None:
            self.started = anyio.current_time()
            self._bound("attempt", self._timeout.attempt)
            self._bound("total", self._total_left)
        self._enter("connect", self._timeout.connect)

    def connected(self) -> None:
        """The connection is ready."""
        if self.started is None:
            self.connecting()
        if self._upload is None:
            self._enter("read", self._timeout.read)
            return
        if self._timeout.write is not None:
            whole = max(self._timeout.write, self._upload / _SLOWEST_UPLOAD)
            self._bound("upload", whole)
        self._enter("write", self._timeout.write)

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
        return 0.0 if self.started is None else anyio.current_time() - self.started

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

    def _bound(self, name: str, seconds: float | None) -> None:
        if seconds is not None:
            self._bounds[name] = (seconds, anyio.current_time() + seconds)

    def _enter(self, phase: str, seconds: float | None) -> None:
        self._bounds.pop(self.phase, None)
        self.phase = phase
        self._bound(phase, seconds)
        self._passed = min(self._bounds, key=lambda name: self._bounds[name][1], default="attempt")
        self.scope.deadline = self._bounds[self._passed][1] if self._bounds else math.inf
