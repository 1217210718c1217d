"""Sends one job and records what came of it, before anything else is done."""

from __future__ import annotations

import sqlite3
from functools import partial

import anyio
import attrs

from chainhub_async.batch import entries
from chainhub_async.batch.entries import JobChangedError, Settlement
from chainhub_async.batch.guard import CONCERNS_ALL, Guard
from chainhub_async.batch.item import Decision
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.journal import CallJournal
from chainhub_async.batch.ledger import Ledger, Work
from chainhub_async.errors import (
    APIError,
    Attempt,
    Billed,
    ChainHubError,
    LedgerError,
    NotFoundError,
    RateLimitError,
    RedirectError,
    ServerError,
)
from chainhub_async.models import ReplaceBackgroundResult
from chainhub_async.transport import decode
from chainhub_async.transport.http import Transport
from chainhub_async.transport.messages import Response

# Errors of the gateway that are not about this image and these options.
_NOT_ITS_FAULT = (*CONCERNS_ALL, NotFoundError, RateLimitError, RedirectError, ServerError)
# Without `Retry-After`, and with no retry left, a refused call must not be followed by the next at
# once: seconds, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


@attrs.frozen(kw_only=True)
class Answer:
    """What came of sending a job.

    Attributes:
        state: the job's new state.
        billed: whether the job, in any run so far, cost money.
        charges: how many times this run was, or may have been, billed for it.
        result: the result.
        error: why there is none, or why it could not be recorded.
        unrecorded: what could not be recorded, to be tried again with whatever is recorded next.
    """

    state: JobState
    billed: Billed
    charges: int = 0
    result: ReplaceBackgroundResult | None = None
    error: ChainHubError | None = None
    unrecorded: Work[None] | None = None


class Caller:
    """Sends the jobs of a batch."""

    def __init__(self, transport: Transport, ledger: Ledger, guard: Guard) -> None:
        self._transport = transport
        self._ledger = ledger
        self._guard = guard
        self._limited = 0

    async def send(self, decision: Decision, journal: CallJournal) -> Answer:
        """Sends a job and records what came of it, also when it is cancelled.

        Raises:
            JobChangedError: it must be decided again what to do with it; nothing was sent.
        """
        replies: list[Response] = []

        def read(response: Response) -> ReplaceBackgroundResult:
            replies.append(response)
            return decode.result(response)

        result: ReplaceBackgroundResult | None = None
        error: ChainHubError | None = None
        try:
            result = await self._transport.send(decision.item.http, read, journal)
        except JobChangedError:
            raise
        except ChainHubError as problem:
            error = problem
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._record_cancelled(decision, journal)
            raise
        answer = _judge(decision, result, error)
        if error is None:
            answer = attrs.evolve(answer, charges=journal.charges + 1)
        with anyio.CancelScope(shield=True):
            answer = await self._record(decision, journal, answer, replies[-1] if replies else None)
        self._ease_off(answer.error)
        return answer

    def _ease_off(self, error: ChainHubError | None) -> None:
        if not isinstance(error, RateLimitError):
            self._limited = 0
        elif error.retry_after is None:
            self._transport.pool.gate.pause(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**self._limited))
            self._limited = min(self._limited + 1, 10)

    async def _record(
        self, decision: Decision, journal: CallJournal, answer: Answer, reply: Response | None
    ) -> Answer:
        if not journal.attempt:
            return answer  # it was never begun, so the ledger says the truth already
        error = answer.error
        attempt = error.attempts[-1] if error is not None and error.attempts else None
        if error is not None and attempt is None:
            attempt = _unmade(error)
        how = Settlement(
            key=decision.item.key,
            state=answer.state,
            billed=answer.billed,
            error=error,
            reply=reply,
            request_id=None if answer.result is None else answer.result.request_id,
        )
        if error is not None:
            how = attrs.evolve(how, request_id=error.request_id)
        work = partial(_close, journal.attempt if journal.is_open else 0, attempt, how)
        try:
            await self._ledger.write(work, urgent=True)
        except ChainHubError as unwritable:
            # The response is all there is: the caller gets it, and it is downloaded all the same.
            self._guard.stop(unwritable)
            if error is None:
                unrecorded = _unrecorded(unwritable, answer.billed)
                return attrs.evolve(answer, error=unrecorded, unrecorded=work)
        return answer

    async def _record_cancelled(self, decision: Decision, journal: CallJournal) -> None:
        last = journal.cancellation
        if not journal.attempt or last is None:
            return
        error = ChainHubError(
            "Cancelled after the whole request was sent; it may have been executed."
            if journal.billed is not Billed.NO
            else "Cancelled before the request was sent completely, so it was not executed.",
            billed=journal.billed,
        )
        answer = _judge(decision, None, error)
        how = Settlement(
            key=decision.item.key, state=answer.state, billed=answer.billed, error=error
        )
        try:
            work = partial(_close, journal.attempt if journal.is_open else 0, last, how)
            await self._ledger.write(work, urgent=True)
        except LedgerError as unwritable:
            self._guard.stop(unwritable)


def _close(
    number: int, attempt: Attempt | None, how: Settlement, connection: sqlite3.Connection
) -> None:
    entries.end_attempt(connection, how.key, number, attempt)
    entries.settle(connection, how)


def _judge(
    decision: Decision, result: ReplaceBackgroundResult | None, error: ChainHubError | None
) -> Answer:
    earlier = decision.job
    if error is None:
        return Answer(state=JobState.ACCEPTED, billed=Billed.YES, result=result)
    charged = error.billed is not Billed.NO
    charges = max(sum(a.billed is not Billed.NO for a in error.attempts), int(charged))
    if charged or earlier.state is JobState.UNCERTAIN:
        # What an earlier run left uncertain stays so when this one fails at no cost.
        state = JobState.UNCERTAIN
    elif isinstance(error, APIError) and not isinstance(error, _NOT_ITS_FAULT):
        state = JobState.REFUSED
    else:
        state = JobState.PENDING
    billed = Billed.worst(earlier.billed, error.billed)
    return Answer(state=state, billed=billed, charges=charges, error=error)


def _unmade(error: ChainHubError) -> Attempt:
    return Attempt(number=0, phase="connect", reason=error.message, billed=error.billed)


def _unrecorded(unwritable: ChainHubError, billed: Billed) -> ChainHubError:
    return LedgerError(
        f"The image is paid for, but that could not be recorded: keep this result. "
        f"{unwritable.message}",
        billed=billed,
    )
