"""What is told of each input: the outcomes of jobs that ended, were cut, or need nothing."""

from __future__ import annotations

import logging
from pathlib import Path

from chainhub_async.batch.activity import Activity
from chainhub_async.batch.item import Decision, Refused
from chainhub_async.batch.jobs import JobState, Outcome, PlanAction
from chainhub_async.errors import (
    BatchStoppedError,
    Billed,
    ChainHubError,
    TaskError,
    printable,
)
from chainhub_async.models import ReplaceBackgroundResult

_log = logging.getLogger("chainhub_async")


def at_once(decision: Decision | Refused) -> Outcome | None:
    """Returns the outcome of an input for which nothing needs to be done, or None."""
    if isinstance(decision, Refused):
        return Outcome(
            request=decision.input.request,
            index=decision.input.index,
            state=JobState.REFUSED,
            error=decision.error,
        )
    if decision.action is PlanAction.SKIP:
        # What this very run did, for another input, was not skipped.
        state = decision.job.state if decision.is_of_this_run else JobState.SKIPPED
        return outcome_of(decision, state, result=decision.result)
    if decision.action is PlanAction.HOLD or decision.action is PlanAction.REFUSE:
        error = decision.job.error or why_held(decision)
        return outcome_of(decision, decision.job.state, result=decision.result, error=error)
    return None


def interrupted(decision: Decision, activity: Activity, why: ChainHubError) -> Outcome:
    """Returns the outcome of a job that was cut; `why` if it was not begun."""
    answer, journal = activity.answer, activity.journal
    if answer is not None or activity.is_fetching:
        result = decision.result if answer is None else answer.result
        stopped = BatchStoppedError(
            "Stopped before all images were saved; resume the batch to fetch them.",
            billed=Billed.YES,
        )
        unrecorded = None if answer is None else answer.error
        return outcome_of(
            decision,
            JobState.ACCEPTED,
            result=result,
            error=unrecorded or stopped,
            billed=Billed.YES,
            charges=0 if answer is None else answer.charges,
        )
    if journal is None or journal.billed is Billed.NO:
        return outcome_of(decision, unsent(decision), error=why)
    return outcome_of(
        decision,
        JobState.UNCERTAIN,
        error=BatchStoppedError(
            "Cancelled after the whole request was sent; it may have been executed.",
            billed=journal.billed,
        ),
        billed=journal.billed,
        charges=activity.charges,
    )


def unexpected(bug: Exception, billed: Billed) -> ChainHubError:
    """Returns the error for a bug in this package, which ends one job and not the others."""
    _log.error("a bug in chainhub_async; please report it", exc_info=bug)
    return ChainHubError(
        f"Unexpected {type(bug).__name__}: {printable(bug)}. Please report this.", billed=billed
    )


def why_held(decision: Decision) -> ChainHubError:
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
        f"The response to job {decision.item.key} is paid for but cannot be read; `chainhub ledger "
        "export` shows it.",
        billed=decision.job.billed,
    )


def unsent(decision: Decision) -> JobState:
    """Returns the state of a job that this run did not send."""
    return JobState.UNCERTAIN if decision.job.state is JobState.UNCERTAIN else JobState.PENDING


def outcome_of(
    decision: Decision,
    state: JobState,
    *,
    result: ReplaceBackgroundResult | None = None,
    error: ChainHubError | None = None,
    billed: Billed | None = None,
    charges: int = 0,
) -> Outcome:
    """Returns the outcome of an input.

    Args:
        decision: the input, and what was known of its job.
        state: how it ended.
        result: its result.
        error: why it is not saved, or could not be recorded.
        billed: whether it cost money; by default, whether it did before this run.
        charges: how many times this run was, or may have been, billed for it.
    """
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
