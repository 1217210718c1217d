"""What is known of a running batch: counts, speed, what is left, and why it is waiting. No I/O."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

import attrs

from chainhub_async.batch.jobs import JobState, Outcome
from chainhub_async.errors import BatchError
from chainhub_async.events import Event, Paused, RequestQueued, RetryScheduled

# Speed is that of this many calls, of the last minutes: it changes with the gateway's mood.
_CALLS, _SECONDS = 200, 300.0
NOT_STARTED = "not started"


def is_unstarted(outcome: Outcome) -> bool:
    """Returns whether the batch stopped before it came to this input."""
    return outcome.state is JobState.PENDING and isinstance(outcome.error, BatchError)


def was_sent(outcome: Outcome) -> bool:
    """Returns whether this run sent it; the others are done in no time."""
    return bool(outcome.spent or (outcome.error is not None and outcome.error.attempts))


@attrs.define(kw_only=True, eq=False)
class Meter:
    """Measures a run.

    Attributes:
        total: how many inputs there are.
        clock: returns seconds.
        counts: how many inputs ended in which state.
        done: how many have ended.
        spent: images that were or may have been billed.
        retries: attempts that were, or are going to be, made again.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    counts: Counter[str] = attrs.field(factory=Counter[str], init=False)
    done: int = attrs.field(default=0, init=False)
    spent: int = attrs.field(default=0, init=False)
    retries: int = attrs.field(default=0, init=False)
    _paused_until: float | None = attrs.field(default=None, init=False)
    _seconds: float = attrs.field(default=0.0, init=False)
    # The calls that ended lately, and since when; before that, others did, or nothing was sent.
    _ended: deque[tuple[float, int]] = attrs.field(factory=deque[tuple[float, int]], init=False)
    _since: float | None = attrs.field(default=None, init=False)

    def take(self, outcome: Outcome) -> None:
        """Takes note of an outcome."""
        self.done += 1
        self.spent += outcome.spent
        word = NOT_STARTED if is_unstarted(outcome) else outcome.state.value.lower()
        self.counts[word] += 1
        if was_sent(outcome):
            self._ended.append((self.clock(), outcome.spent))
            self._forget()

    def event(self, event: Event) -> None:
        """Takes note of an event of the client."""
        if isinstance(event, Paused):
            self._seconds = event.seconds
            self._paused_until = max(self._paused_until or 0.0, self.clock() + event.seconds)
        elif isinstance(event, RetryScheduled):
            self.retries += 1
        elif isinstance(event, RequestQueued) and event.images and self._since is None:
            self._since = self.clock()

    @property
    def pause(self) -> tuple[float, float] | None:
        """For how long the gateway asked to wait, and how many seconds of it are left."""
        left = 0.0 if self._paused_until is None else self._paused_until - self.clock()
        return (self._seconds, left) if left > 0 else None

    @property
    def images_per_minute(self) -> float | None:
        """How many images are made in a minute, or None while that is not known."""
        seconds = self._measured()
        return sum(images for _, images in self._ended) * 60 / seconds if seconds else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes if all of it is sent, or None while that is not known."""
        seconds = self._measured()
        return (self.total - self.done) * seconds / len(self._ended) if seconds else None

    def _measured(self) -> float:
        """Returns in how many seconds the calls that are kept ended; 0 if there is none."""
        self._forget()
        if not self._ended or self._since is None:
            return 0.0
        return self.clock() - self._since

    def _forget(self) -> None:
        now = self.clock()
        while self._ended and (len(self._ended) > _CALLS or now - self._ended[0][0] > _SECONDS):
            self._since, _ = self._ended.popleft()
