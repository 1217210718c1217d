"""Sends a request: waits for its turn, tries, judges what came of it, tries again or gives up."""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable

import anyio
import attrs

from chainhub_async._version import __version__
from chainhub_async.config import ClientConfig
from chainhub_async.errors import Attempt, InvalidOptionError, RateLimitError, ServerError
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
from chainhub_async.transport.evidence import Failure
from chainhub_async.transport.exchange import Exchange, Way
from chainhub_async.transport.messages import Request, Response
from chainhub_async.transport.multipart import Body
from chainhub_async.transport.pool import Pool
from chainhub_async.transport.retry import RetryPolicy
from chainhub_async.transport.session import proxy_for

_log = logging.getLogger("chainhub_async")

OnEvent = Callable[[Event], object]

USER_AGENT = f"chainhub-async/{__version__}"

_HEADERS = {
    "Accept": "application/json",
    # A compressed answer saves nothing here and could unfold without bound.
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}


@attrs.frozen(kw_only=True, eq=False)
class Transport:
    """Sends requests for one client.

    Attributes:
        config: the client's settings.
        retry: when to send again.
        pool: what it shares with the clients derived from it.
        on_event: the caller's callback, or None.
    """

    config: ClientConfig
    retry: RetryPolicy
    pool: Pool = attrs.field(repr=False)
    on_event: OnEvent | None = attrs.field(default=None, repr=False)
    draw: Callable[[], float] = attrs.field(default=random.random, repr=False)

    async def send(self, request: Request) -> Response:
        """Sends `request`, resending while it is provably unexecuted and the policy allows it.

        Returns:
            The answer, with a 2xx status.

        Raises:
            ChainHubError: what came of the last attempt, with all attempts on it.
        """
        self._refuse_what_never_fits(request)
        await self.pool.bind()
        call = next(self.pool.numbers)
        self.pool.budget.call_started()
        self.emit(RequestQueued(call=call, images=request.images))
        attempts: tuple[Attempt, ...] = ()
        total, spent = request.timeout.total, 0.0
        for number in itertools.count(1):
            async with self.pool.gate.enter(request.images):
                started = anyio.current_time()
                left = None if total is None else max(0.0, total - spent)
                exchange = await self._exchange(request, call, number, left)
                outcome = await self._run(exchange, call, number)
            if isinstance(outcome, Response):
                self._went_well(outcome, call)
                return attrs.evolve(outcome, attempts=attempts)
            attempts += (exchange.attempt(number, outcome),)
            outcome.error.attempts = attempts
            delay = self._delay(outcome, number)
            self._ease_off(outcome, call, started, delay)
            spent += exchange.deadlines.spent + (delay or 0.0)
            if delay is None or (total is not None and spent >= total):
                raise outcome.error
            reason = outcome.error.message
            self.emit(RetryScheduled(call=call, attempt=number, delay=delay, reason=reason))
            await anyio.sleep(delay)
        raise AssertionError("the loop above does not end")  # pragma: no cover

    def emit(self, event: Event) -> None:
        """Hands an event to the caller's callback, whose failures are logged."""
        if self.on_event is None:
            return
        try:
            self.on_event(event)
        except Exception:
            _log.warning("on_event raised for a %s", type(event).__name__, exc_info=True)

    async def _exchange(
        self, request: Request, call: int, number: int, left: float | None
    ) -> Exchange:
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
            self.emit(
                UploadProgress(
                    call=call, attempt=number, bytes_sent=body.handed, bytes_total=body.size
                )
            )

        return Exchange(
            way,
            request,
            total_left=left,
            max_retry_after=self.retry.max_retry_after,
            on_progress=progressed,
        )

    async def _run(self, exchange: Exchange, call: int, number: int) -> Response | Failure:
        try:
            return await exchange.run()
        except BaseException:
            seen = exchange.evidence
            billed = evidence.judge_lost(seen).billed
            self.emit(
                CallCancelled(call=call, attempt=number, bytes_sent=seen.bytes_sent, billed=billed)
            )
            raise

    def _delay(self, failure: Failure, number: int) -> float | None:
        delay = self.retry.delay(failure, number, self.draw)
        return delay if delay is not None and self.pool.budget.take() else None

    def _ease_off(self, failure: Failure, call: int, started: float, delay: float | None) -> None:
        """Slows every call of the client down when the gateway asks for it."""
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
            raise InvalidOptionError(
                f"A call for {request.images} images can never start: Limits(in_flight={most}) "
                "allows fewer at once."
            )
