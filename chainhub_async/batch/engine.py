"""What becomes of each job: sent, fetched, skipped or held; and how all of them come to an end."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import anyio
import attrs

from chainhub_async.batch import entries
from chainhub_async.batch.calls import Answer, Caller
from chainhub_async.batch.entries import JobChangedError, Settlement
from chainhub_async.batch.guard import Guard
from chainhub_async.batch.intake import Clerk
from chainhub_async.batch.item import Decision, Input, Refused
from chainhub_async.batch.jobs import JobState, Outcome, PlanAction
from chainhub_async.batch.journal import CallJournal
from chainhub_async.batch.ledger import Ledger
from chainhub_async.batch.outputs import Delivery, Saver
from chainhub_async.batch.settings import BatchSettings
from chainhub_async.download import Downloader
from chainhub_async.errors import (
    BatchError,
    BatchStoppedError,
    Billed,
    ChainHubError,
    TaskError,
    TaskFailedError,
    already_paid,
    printable,
)
from chainhub_async.models import ReplaceBackgroundResult, Task
from chainhub_async.resources.raw import raw_request
from chainhub_async.resources.tasks import wait_for
from chainhub_async.transport.http import Transport
from chainhub_async.transport.messages import Response

_log = logging.getLogger("chainhub_async")

# Seconds between polls of a task, and until the run goes on without its result.
_POLL_INTERVAL, _POLL_TIMEOUT = 2.0, 600.0


@attrs.define(eq=False)
class Activity:
    """A job in progress.

    Attributes:
        scope: cancelled to end it.
        journal: of its call, once it has one.
        answer: what came of the call.
        delivery: what was saved.
    """

    scope: anyio.CancelScope = attrs.field(factory=lambda: anyio.CancelScope(shield=True))
    journal: CallJournal | None = None
    answer: Answer | None = None
    delivery: Delivery | None = None
    fetches: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being sent or fetched for it."""
        if self.answer is not None or self.fetches:
            return False
        return self.journal is None or not self.journal.is_open

    @property
    def is_worth_waiting_for(self) -> bool:
        """Whether it is, or may be, paid for."""
        if self.answer is not None or self.fetches:
            return True
        return self.journal is not None and self.journal.is_open and self.journal.is_sent


class Engine:
    """The jobs of a batch.

    Attributes:
        clerk: decides what to do with each input.
        ledger: the open ledger.
        guard: what stops the batch.
        activities: the jobs in progress.
    """

    def __init__(
        self,
        settings: BatchSettings,
        transport: Transport,
        downloader: Downloader,
        ledger: Ledger,
    ) -> None:
        self.settings = settings
        self.transport = transport
        self.ledger = ledger
        self.clerk = Clerk(settings=settings, run=ledger.run)
        self.guard = Guard(settings.max_images, self._drop_waiting)
        self.activities: set[Activity] = set()
        self._all_ended = anyio.Event()
        self._is_finishing = False
        self._caller = Caller(transport, ledger, self.guard)
        self._saver: Saver | None = None
        if settings.save_to is not None:
            self._saver = Saver(downloader, ledger, settings.save_to, overwrite=settings.overwrite)
        # The jobs being sent, and what is set when each has ended.
        self._leaders: dict[str, anyio.Event] = {}

    def at_once(self, decision: Decision | Refused) -> Outcome | None:
        """Returns the outcome of an input for which nothing needs to be done, or None."""
        if isinstance(decision, Refused):
            return Outcome(
                request=decision.input.request,
                index=decision.input.index,
                state=JobState.REFUSED,
                error=decision.error,
            )
        if decision.action is PlanAction.SKIP:
            return _outcome(decision, JobState.SKIPPED, result=decision.result)
        if decision.action is PlanAction.HOLD or decision.action is PlanAction.REFUSE:
            error = decision.job.error or _reason(decision)
            return _outcome(decision, decision.job.state, result=decision.result, error=error)
        return None

    def not_started(self, given: Input) -> Outcome:
        """Returns the outcome of an input that was not looked at since the batch stopped."""
        return Outcome(
            request=given.request, index=given.index, state=JobState.PENDING, error=self._why()
        )

    async def process(self, decision: Decision) -> Outcome:
        """Sends, fetches or waits for a job; never raises."""
        activity = Activity()
        self.activities.add(activity)
        outcome: Outcome | None = None
        try:
            with activity.scope:
                outcome = await self._process(decision, activity)
        except Exception as bug:
            outcome = self._broken(decision, activity, bug)
        finally:
            self.activities.discard(activity)
            if not self.activities:
                self._all_ended.set()
                self._all_ended = anyio.Event()
                if self._is_finishing:
                    self.ledger.end()
        return outcome or self._interrupted(decision, activity)

    async def serve(self) -> None:
        """Writes the ledger, until the last job has ended after `finish`."""
        with anyio.CancelScope(shield=True):
            await self.ledger.serve()

    def finish(self) -> None:
        """Ends `serve` when no job is in progress any more."""
        self._is_finishing = True
        if not self.activities:
            self.ledger.end()

    async def until_idle(self) -> None:
        """Waits until no job is in progress."""
        while self.activities:
            await self._all_ended.wait()

    def cut(self, *, all_of_them: bool) -> None:
        """Ends the jobs in progress, or only those that are not paid for."""
        for activity in list(self.activities):
            if all_of_them or not activity.is_worth_waiting_for:
                activity.scope.cancel()

    def _drop_waiting(self) -> None:
        for activity in list(self.activities):
            if activity.is_waiting:
                activity.scope.cancel()

    async def _process(self, decision: Decision, activity: Activity) -> Outcome:
        while True:
            try:
                return await self._act(decision, activity)
            except JobChangedError:
                decision = await self._decide_again(decision)

    async def _act(self, decision: Decision, activity: Activity) -> Outcome:
        key = decision.item.key
        while decision.action is PlanAction.SEND and key in self._leaders:
            await self._leaders[key].wait()
            decision = await self._decide_again(decision)
        if decision.job.state is JobState.SENDING:
            decision = await self._decide_again(decision)
            if decision.job.state is JobState.SENDING and key not in self._leaders:
                # How it ended could not be recorded, so nobody knows whether it was executed.
                return _outcome(
                    decision, JobState.UNCERTAIN, error=self._why(), billed=Billed.MAYBE
                )
            return await self._act(decision, activity)
        if (outcome := self.at_once(decision)) is not None:
            # Done by this very run, for another input.
            state = JobState.SAVED if outcome.state is JobState.SKIPPED else outcome.state
            return attrs.evolve(outcome, state=state)
        if decision.action is PlanAction.DOWNLOAD:
            activity.fetches = True
            return await self._bring_home(decision, decision.result, activity)
        self._leaders[key] = anyio.Event()
        try:
            return await self._send(decision, activity)
        finally:
            self._leaders.pop(key).set()

    async def _decide_again(self, decision: Decision) -> Decision:
        return await self.ledger.write(partial(self.clerk.decide, item=decision.item))

    async def _send(self, decision: Decision, activity: Activity) -> Outcome:
        images = decision.item.http.images
        try:
            await self.guard.reserve(images)
        except BatchError as refusal:
            return _outcome(decision, _unsent(decision), error=refusal)
        journal = CallJournal(
            self.ledger,
            self.guard,
            key=decision.item.key,
            images=images,
            state=decision.job.state,
        )
        activity.journal = journal
        charges = 0
        try:
            answer = activity.answer = await self._caller.send(decision, journal)
            charges = answer.charges
        except BaseException:
            charges = _charges(journal)
            raise
        finally:
            self.guard.settle(images, charges)
        self.guard.judge(answer.error)
        if answer.result is None:
            return _outcome(
                decision, answer.state, error=answer.error, billed=answer.billed, charges=charges
            )
        outcome = await self._bring_home(decision, answer.result, activity)
        return attrs.evolve(outcome, error=outcome.error or answer.error, spent=images * charges)

    async def _bring_home(
        self, decision: Decision, result: ReplaceBackgroundResult | None, activity: Activity
    ) -> Outcome:
        """Waits for a task and saves images, as far as the settings ask for it."""
        if result is not None and result.task is not None and not result.images:
            try:
                result = await self._finish(decision, result, result.task)
            except ChainHubError as problem:
                state = JobState.ACCEPTED
                if isinstance(problem, TaskFailedError):
                    state = JobState.UNCERTAIN
                    await self._settle(decision, state, problem, None)
                return _outcome(decision, state, result=result, error=problem, billed=Billed.YES)
        if result is None or not result.images or self._saver is None:
            return _outcome(decision, JobState.ACCEPTED, result=result, billed=Billed.YES)
        is_new = activity.answer is not None
        delivery = activity.delivery = await self._saver.save(decision, result, is_new=is_new)
        return attrs.evolve(
            _outcome(decision, delivery.state, result=result, error=delivery.error),
            saved=delivery.saved,
            billed=Billed.YES,
        )

    async def _finish(
        self, decision: Decision, result: ReplaceBackgroundResult, task: Task
    ) -> ReplaceBackgroundResult:
        """Waits for a task, if it is known how, and records its result."""
        if self.settings.task_path is None:
            return result
        replies: list[Response] = []

        async def ask(path: str) -> Response:
            request = raw_request("GET", path, timeout=decision.item.http.timeout)
            replies.append(await self.transport.send(request, lambda response: response))
            return replies[-1]

        with already_paid():
            found = await wait_for(
                ask,
                task,
                path=self.settings.task_path,
                interval=_POLL_INTERVAL,
                timeout=_POLL_TIMEOUT,
            )
        # The paid call's ID is the one to quote, not that of a poll.
        found = attrs.evolve(found, request_id=result.request_id or found.request_id)
        await self._settle(decision, JobState.ACCEPTED, None, replies[-1])
        return found

    async def _settle(
        self,
        decision: Decision,
        state: JobState,
        error: ChainHubError | None,
        reply: Response | None,
    ) -> None:
        how = Settlement(
            key=decision.item.key, state=state, billed=Billed.YES, error=error, reply=reply
        )
        try:
            with anyio.CancelScope(shield=True):
                await self.ledger.write(partial(entries.settle, how=how), urgent=True)
        except ChainHubError as unwritable:
            self.guard.stop(unwritable)

    def _interrupted(self, decision: Decision, activity: Activity) -> Outcome:
        """Returns the outcome of a job that was cut."""
        answer, journal = activity.answer, activity.journal
        if answer is not None or activity.fetches:
            result = decision.result if answer is None else answer.result
            return _outcome(
                decision,
                JobState.ACCEPTED,
                result=result,
                error=BatchStoppedError(
                    "Stopped before all images were saved; resume the batch to fetch them.",
                    billed=Billed.YES,
                ),
                billed=Billed.YES,
                charges=0 if answer is None else answer.charges,
            )
        last = None if journal is None else journal.cancellation
        if journal is None or last is None or last.billed is Billed.NO:
            return _outcome(decision, _unsent(decision), error=self._why())
        return _outcome(
            decision,
            JobState.UNCERTAIN,
            error=BatchStoppedError(
                "Cancelled after the whole request was sent; it may have been executed.",
                billed=last.billed,
            ),
            billed=last.billed,
            charges=_charges(journal),
        )

    def _broken(self, decision: Decision, activity: Activity, bug: Exception) -> Outcome:
        if isinstance(bug, ChainHubError):
            self.guard.judge(bug)
            return attrs.evolve(self._interrupted(decision, activity), error=bug)
        journal = activity.journal
        sent = journal is not None and journal.is_sent
        error = unexpected(bug, Billed.MAYBE if sent else Billed.NO)
        return attrs.evolve(self._interrupted(decision, activity), error=error)

    def _why(self) -> ChainHubError:
        try:
            self.guard.check()
        except BatchError as reason:
            return reason
        return BatchStoppedError("Not started: the batch was closed or cancelled.")


def unexpected(bug: Exception, billed: Billed) -> ChainHubError:
    """Returns the error for a bug in this package, which ends one job and not the others."""
    _log.error("a bug in chainhub_async; please report it", exc_info=bug)
    return ChainHubError(
        f"Unexpected {type(bug).__name__}: {printable(bug)}. Please report this.", billed=billed
    )


def _reason(decision: Decision) -> ChainHubError:
    """Returns why a job is held of which the ledger has no error."""
    task = None if decision.result is None else decision.result.task
    if task is not None:
        return TaskError(
            f"Task {printable(task.task_id, 100)} was not finished when it was accepted; pass "
            "task_path to wait for it.",
            task=task,
            billed=Billed.YES,
        )
    return ChainHubError(
        f"Job {decision.item.key} is {decision.job.state}.", billed=decision.job.billed
    )


def _unsent(decision: Decision) -> JobState:
    return JobState.UNCERTAIN if decision.job.state is JobState.UNCERTAIN else JobState.PENDING


def _charges(journal: CallJournal) -> int:
    last = journal.cancellation
    if last is None or last.billed is Billed.NO:
        return 0
    return max(1, journal.charges + (journal.is_open and journal.is_sent))


def _outcome(
    decision: Decision,
    state: JobState,
    *,
    result: ReplaceBackgroundResult | None = None,
    error: ChainHubError | None = None,
    billed: Billed | None = None,
    charges: int = 0,
) -> Outcome:
    item = decision.item
    return Outcome(
        request=item.input.request,
        index=item.input.index,
        key=item.key,
        state=state,
        result=result,
        error=error,
        saved=tuple(Path(file.path) for file in decision.outputs),
        billed=decision.job.billed if billed is None else billed,
        spent=item.http.images * charges,
    )
