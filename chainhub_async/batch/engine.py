"""What becomes of each job: sent, fetched, skipped or held; and how all of them come to an end."""

from __future__ import annotations

from functools import partial

import anyio
import attrs

from chainhub_async.batch import entries
from chainhub_async.batch.activity import Activity
from chainhub_async.batch.calls import Caller
from chainhub_async.batch.entries import JobChangedError, Settlement
from chainhub_async.batch.guard import Guard
from chainhub_async.batch.intake import Clerk
from chainhub_async.batch.item import Decision, Input
from chainhub_async.batch.jobs import JobState, Outcome, PlanAction
from chainhub_async.batch.journal import CallJournal
from chainhub_async.batch.ledger import Ledger, Work, in_order
from chainhub_async.batch.outcomes import at_once, interrupted, outcome_of, unexpected, unsent
from chainhub_async.batch.outputs import Saver
from chainhub_async.batch.settings import BatchSettings
from chainhub_async.download import Downloader
from chainhub_async.errors import (
    BatchError,
    BatchStoppedError,
    Billed,
    ChainHubError,
    TaskFailedError,
    already_paid,
)
from chainhub_async.models import ReplaceBackgroundResult, Task
from chainhub_async.resources.raw import raw_request
from chainhub_async.resources.tasks import wait_for
from chainhub_async.transport.http import Transport
from chainhub_async.transport.messages import Response

# Seconds between polls of a task, and until the run goes on without its result.
_POLL_INTERVAL, _POLL_TIMEOUT = 2.0, 600.0


_WORK = {PlanAction.SEND, PlanAction.DOWNLOAD}


class Engine:
    """The jobs of a batch.

    Attributes:
        settings: the batch's.
        transport: the client's.
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
        self.clerk: Clerk = Clerk(settings=settings, run=ledger.run)
        self.guard: Guard = Guard(
            settings.max_images, transport.retry.max_retry_after, self._drop_waiting
        )
        self.activities: set[Activity] = set()
        self._all_ended = anyio.Event()
        self._is_finishing = False
        self._caller = Caller(transport, ledger, self.guard)
        self._saver: Saver | None = None
        if settings.save_to is not None:
            self._saver = Saver(
                *(downloader, ledger, settings.save_to),
                overwrite=settings.overwrite,
                photos=self.clerk.photos,
            )
        # The jobs being sent, and what is set when each has ended.
        self._leaders: dict[str, anyio.Event] = {}

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
            if (unrecorded := activity.unrecorded) is not None:
                outcome = await self._record_late(outcome, activity, unrecorded)
        except Exception as bug:
            outcome = self._broken(decision, activity, bug)
        finally:
            self.activities.discard(activity)
            if not self.activities:
                self._all_ended.set()
                self._all_ended = anyio.Event()
                if self._is_finishing:
                    self.ledger.end()
        return outcome or interrupted(decision, activity, self._why())

    async def _record_late(
        self, outcome: Outcome | None, activity: Activity, unrecorded: Work[None]
    ) -> Outcome | None:
        """Tries once more to record an answer; the disk may have room again."""
        error = None if activity.answer is None else activity.answer.error
        try:
            with anyio.CancelScope(shield=True):
                await self.ledger.write(unrecorded)
        except ChainHubError:
            return outcome
        activity.recorded()
        if outcome is not None and outcome.error is error:
            return attrs.evolve(outcome, error=None)
        return outcome

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
        # One at a time for each job, whether it is sent or fetched: the others find it done.
        while decision.action in _WORK and key in self._leaders:
            await self._leaders[key].wait()
            decision = await self._decide_again(decision)
        if decision.job.state is JobState.SENDING:
            decision = await self._decide_again(decision)
            if decision.job.state is JobState.SENDING and key not in self._leaders:
                # How it ended could not be recorded, so nobody knows whether it was executed.
                return outcome_of(
                    decision, JobState.UNCERTAIN, error=self._why(), billed=Billed.MAYBE
                )
            return await self._act(decision, activity)
        if (outcome := at_once(decision)) is not None:
            return outcome
        self._leaders[key] = anyio.Event()
        try:
            if decision.action is PlanAction.SEND:
                return await self._send(decision, activity)
            activity.is_fetching = True
            outcome = await self._bring_home(decision, decision.result, activity)
            self.guard.judge_delivery(outcome.error)
            return outcome
        finally:
            self._leaders.pop(key).set()

    async def _decide_again(self, decision: Decision) -> Decision:
        return await self.ledger.write(partial(self.clerk.decide, item=decision.item))

    async def _send(self, decision: Decision, activity: Activity) -> Outcome:
        images = decision.item.http.images
        try:
            await self.guard.reserve(images)
        except BatchError as refusal:
            return outcome_of(decision, unsent(decision), error=refusal)
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
            charges = activity.charges
            raise
        finally:
            self.guard.settle(images, charges)
        self.guard.judge(answer.error)
        if answer.result is None:
            return outcome_of(
                decision, answer.state, error=answer.error, billed=answer.billed, charges=charges
            )
        outcome = await self._bring_home(decision, answer.result, activity)
        self.guard.judge_delivery(outcome.error)
        # That the result could not be recorded weighs more than that it could not be saved.
        error = activity.answer.error or outcome.error
        return attrs.evolve(outcome, error=error, spent=images * charges)

    async def _bring_home(
        self, decision: Decision, result: ReplaceBackgroundResult | None, activity: Activity
    ) -> Outcome:
        """Waits for a task and saves images, as far as the settings ask for it."""
        if result is not None and result.task is not None and not result.images:
            try:
                result = await self._finish(decision, activity, result, result.task)
            except ChainHubError as problem:
                state = JobState.ACCEPTED
                if isinstance(problem, TaskFailedError):
                    state = JobState.UNCERTAIN
                    await self._settle(decision, activity, state, problem, None)
                return outcome_of(decision, state, result=result, error=problem, billed=Billed.YES)
        if result is None or not result.images or self._saver is None:
            return outcome_of(decision, JobState.ACCEPTED, result=result, billed=Billed.YES)
        delivery = await self._saver.save(
            *(decision, result),
            is_new=activity.answer is not None,
            unrecorded=activity.unrecorded,
        )
        if delivery.is_recorded:
            activity.recorded()
        return attrs.evolve(
            outcome_of(decision, delivery.state, result=result, error=delivery.error),
            saved=delivery.saved,
            billed=Billed.YES,
        )

    async def _finish(
        self,
        decision: Decision,
        activity: Activity,
        result: ReplaceBackgroundResult,
        task: Task,
    ) -> ReplaceBackgroundResult:
        """Waits for a task, if it is known how, and records its result."""
        if self.settings.task_path is None:
            return result
        reply: Response | None = None

        async def ask(path: str) -> Response:
            nonlocal reply
            request = raw_request("GET", path, timeout=decision.item.http.timeout)
            reply = await self.transport.send(request, lambda response: response)
            return reply

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
        await self._settle(decision, activity, JobState.ACCEPTED, None, reply)
        return found

    async def _settle(
        self,
        decision: Decision,
        activity: Activity,
        state: JobState,
        error: ChainHubError | None,
        reply: Response | None,
    ) -> None:
        how = Settlement(
            key=decision.item.key, state=state, billed=Billed.YES, error=error, reply=reply
        )
        work = in_order(activity.unrecorded, partial(entries.settle, how=how))
        try:
            with anyio.CancelScope(shield=True):
                await self.ledger.write(work, urgent=True)
            activity.recorded()
        except ChainHubError as unwritable:
            self.guard.stop(unwritable)

    def _broken(self, decision: Decision, activity: Activity, bug: Exception) -> Outcome:
        if isinstance(bug, ChainHubError):
            self.guard.judge(bug)
            return attrs.evolve(interrupted(decision, activity, self._why()), error=bug)
        journal = activity.journal
        sent = journal is not None and journal.is_sent
        error = unexpected(bug, Billed.MAYBE if sent else Billed.NO)
        return attrs.evolve(interrupted(decision, activity, self._why()), error=error)

    def _why(self) -> ChainHubError:
        try:
            self.guard.check()
        except BatchError as reason:
            return reason
        return BatchStoppedError("Not started: the batch was closed or cancelled.")
