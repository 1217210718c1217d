"""Sends a request: queues, attempts, judges the outcome, and retries or gives up."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import TypeVar

import anyio
import attrs

from chainhub_async._version import __version__
from chainhub_async.config import ClientConfig
from chainhub_async.errors import (
    Attempt,
    Billed,
    CallCancelledError,
    ChainHubError,
    ClosedError,
    RateLimitError,
    ServerError,
)
from chainhub_async.events import (
    CallCancelled,
    Event,
    Paused,
    ReplyReceived,
    RequestQueued,
    RetryScheduled,
    UploadProgress,
)
from chainhub_async.transport import evidence
from chainhub_async.transport.evidence import Failure, Verdict
from chainhub_async.transport.exchange import Exchange, Way
from chainhub_async.transport.gate import never_fits
from chainhub_async.transport.messages import Journal, Request, Response
from chainhub_async.transport.multipart import Body
from chainhub_async.transport.pool import Pool
from chainhub_async.transport.retry import RetryPolicy
from chainhub_async.transport.session import proxy_for

_log = logging.getLogger("chainhub_async")

OnEvent = Callable[[Event], object]

USER_AGENT = f"chainhub-async/{__version__}"

_HEADERS = {
    "Accept": "application/json",
    # A compressed response saves nothing here and could expand without limit.
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
T = TypeVar("T")


@attrs.define(eq=False)
class _Call:
    """One call in progress and the outcome of its attempts so far."""

    number: int
    request: Request
    journal: Journal | None
    attempts: tuple[Attempt, ...] = ()
    exchange: Exchange | None = None
    spent: float = 0.0

    @property
    def attempt(self) -> int:
        """The number of the current or next attempt."""
        return len(self.attempts) + 1

    @property
    def left(self) -> float | None:
        """Seconds left of the call's total timeout."""
        total = self.request.timeout.total
        return None if total is None else max(0.0, total - self.spent)

    @property
    def bytes_sent(self) -> int:
        """Bytes sent in the current attempt."""
        return 0 if self.exchange is None else self.exchange.evidence.bytes_sent

    def billed(self, last: Billed = Billed.NO) -> Billed:
        """Returns the worst of all attempts and `last`, which is not among them yet."""
        return Billed.worst(last, *(attempt.billed for attempt in self.attempts), self._under_way)

    @property
    def _under_way(self) -> Billed:
        """Whether the current attempt, which ends here, may have been billed."""
        if self.exchange is None:
            return Billed.NO
        return evidence.judge_lost(self.exchange.evidence).billed

    def mark(self, error: ChainHubError) -> None:
        """Records on an error what all attempts together came to."""
        if self.exchange is not None:  # it ended by something else than its own outcome
            ended = self.exchange.attempt(self.attempt, error.message, self._under_way)
            self.attempts += (ended,)
        error.attempts = self.attempts
        error.billed = self.billed(error.billed)
        error.bytes_sent = error.bytes_sent or self.bytes_sent

    def cancelled(self) -> Attempt:
        """Returns the attempt that a cancellation ended."""
        if self.exchange is None:
            reason = "cancelled before it began"
            return Attempt(number=self.attempt, phase="connect", reason=reason, billed=Billed.NO)
        return self.exchange.attempt(self.attempt, "cancelled", self._under_way)

    def interrupted(self, last: Attempt) -> CallCancelledError:
        """Returns what is told along with the cancellation: created here, it holds no frame."""
        sent = f"{last.bytes_sent:,} of {last.bytes_total:,} bytes had been sent"
        billed = self.billed()
        told = {
            Billed.NO: f"The call was cancelled when {sent}; it was not executed.",
            Billed.MAYBE: "The call was cancelled after the whole request had been sent, so it "
            "may have been executed and billed.",
            Billed.YES: "The call was cancelled after the gateway had reported success; it was "
            "billed.",
        }
        return CallCancelledError(
            told[billed],
            billed=billed,
            status=last.status,
            bytes_sent=last.bytes_sent,
            attempts=(*self.attempts, last),
        )

    def failed(self, failure: Failure) -> None:
        """Records how the current attempt ended."""
        if self.exchange is not None:
            made = self.exchange.attempt(
                self.attempt, failure.error.message, failure.verdict.billed
            )
            self.attempts += (made,)
            self.spent += self.exchange.deadlines.spent
            self.exchange = None


@attrs.frozen(kw_only=True, eq=False)
class Transport:
    """Sends requests for one client.

    Attributes:
        config: the client's settings.
        retry: when to retry.
        pool: shared with the clients derived from it.
        on_event: the caller's callback, or None.
    """

    config: ClientConfig
    retry: RetryPolicy
    pool: Pool = attrs.field(repr=False)
    on_event: OnEvent | None = attrs.field(default=None, repr=False)
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)

    async def send(
        self,
        request: Request,
        read: Callable[[Response], T],
        journal: Journal | None = None,
    ) -> T:
        """Sends `request`, retrying while it is provably unexecuted and the policy allows it.

        Args:
            request: the request.
            read: turns a 2xx response into a result, or raises what is wrong with it.
            journal: is told how the call proceeds.

        Raises:
            ChainHubError: the error of the last attempt, with all attempts recorded on it.
        """
        self._refuse_what_never_fits(request)
        await self.pool.bind()
        call = _Call(next(self.pool.numbers), request, journal)
        self.pool.budget.call_started()
        self.emit(RequestQueued(call=call.number, images=request.images))
        try:
            with self.pool.under_way():
                return await self._send(call, read)
            raise ClosedError("The client was closed while the call was in progress.")
        except ChainHubError as error:
            call.mark(error)
            raise
        except Exception as bug:
            # Whatever is wrong here, the caller must be told about the money. The frames hold the
            # key, so the bug goes to the log, which shows no locals, and not along with the error.
            _log.exception("a bug in chainhub_async; please report it")
            unexpected = ChainHubError(
                f"Unexpected {type(bug).__name__}: {bug}. Please report this."
            )
            call.mark(unexpected)
        except BaseException as interruption:
            last = call.cancelled()
            interruption.__context__ = call.interrupted(last)
            if journal is not None:
                journal.cancelled(last, call.billed())
            self.emit(
                CallCancelled(
                    call=call.number,
                    attempt=last.number,
                    bytes_sent=last.bytes_sent,
                    billed=call.billed(),
                )
            )
            raise
        raise unexpected

    def emit(self, event: Event) -> None:
        """Passes an event to the caller's callback, whose exceptions are logged."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            _log.warning("on_event raised for a %s", type(event).__name__, exc_info=True)

    async def _send(self, call: _Call, read: Callable[[Response], T]) -> T:
        while True:
            number = call.attempt
            async with self.pool.gate.enter(call.request.images):
                if call.journal is not None:
                    await call.journal.begin()
                started = anyio.current_time()
                call.exchange = await self._exchange(call)
                outcome = await call.exchange.run()
            if isinstance(outcome, Response):
                self._went_well(outcome, call.number)
                return _read(call, outcome, read)
            call.failed(outcome)
            delay = self._delay(outcome, call)
            self._ease_off(outcome, call.number, started, delay)
            if delay is None:
                raise outcome.error
            if call.journal is not None:
                await call.journal.failed(call.attempts[-1])
            call.spent += delay
            reason = outcome.error.message
            self.emit(RetryScheduled(call=call.number, attempt=number, delay=delay, reason=reason))
            await anyio.sleep(delay)

    async def _exchange(self, call: _Call) -> Exchange:
        request, number = call.request, call.attempt
        url = self.config.base_url + request.path
        way = Way(
            session=await self.pool.api(),
            url=url,
            key=self.config.api_key,
            proxy=proxy_for(url, self.config.proxy),
            ssl=self.pool.ssl,
            headers={**_HEADERS, **request.headers},
        )

        def progressed(body: Body) -> None:
            if self.on_event is None:
                return  # most callers do not look, and a body has many steps
            self.emit(
                UploadProgress(
                    call=call.number,
                    attempt=number,
                    bytes_sent=body.handed,
                    bytes_total=body.size,
                )
            )

        return Exchange(
            way,
            request,
            total_left=call.left,
            max_retry_after=self.retry.max_retry_after,
            on_progress=progressed,
            before_last=None if call.journal is None else call.journal.before_last,
        )

    def _delay(self, failure: Failure, call: _Call) -> float | None:
        delay = self.retry.delay(failure, len(call.attempts), self.draw)
        if delay is None or (call.left is not None and delay >= call.left):
            return None
        return delay if self.pool.budget.take() else None

    def _ease_off(self, failure: Failure, call: int, started: float, delay: float | None) -> None:
        """Slows down every call of the client when the gateway requests it."""
        error = failure.error
        if isinstance(error, RateLimitError):
            self.pool.gate.slow_down(started)
        elif not isinstance(error, ServerError) or error.retry_after is None:
            return
        seconds = delay if error.retry_after is None else error.retry_after
        if seconds and seconds <= self.retry.max_retry_after:
            self.pool.gate.pause(seconds)
            self.emit(Paused(call=call, seconds=seconds))

    def _went_well(self, response: Response, call: int) -> None:
        self.pool.gate.succeeded()
        self.emit(ReplyReceived(call=call, status=response.status, request_id=response.request_id))

    def _refuse_what_never_fits(self, request: Request) -> None:
        most = self.pool.limits.in_flight
        if most is not None and request.images > most:
            raise never_fits(request.images, most)


def _read(call: _Call, response: Response, read: Callable[[Response], T]) -> T:
    try:
        return read(response)
    except ChainHubError as error:
        call.failed(Failure(error=error, verdict=Verdict(billed=error.billed)))
        raise
