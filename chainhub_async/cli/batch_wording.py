"""What `chainhub batch` says about its inputs, a run and its progress. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from chainhub_async.batch.facts import LedgerCounts
from chainhub_async.batch.jobs import JobState, Outcome, PlanAction, PlannedJob
from chainhub_async.cli import ledger_words
from chainhub_async.cli.batch_meter import NOT_STARTED, Meter, is_unstarted, was_sent
from chainhub_async.cli.json_words import withheld_of
from chainhub_async.cli.ledger_files import FileCounts
from chainhub_async.cli.ledger_words import count
from chainhub_async.cli.shown import shown_path
from chainhub_async.cli.wording import billed, failure
from chainhub_async.errors import APIError, Billed, ChainHubError, SpendLimitError, printable

_ACTIONS = {
    PlanAction.SEND: "to send",
    PlanAction.DOWNLOAD: "to download (paid for)",
    PlanAction.SKIP: "done by an earlier run",
    PlanAction.DUPLICATE: "the same as another",
    PlanAction.HOLD: "held (an earlier run was or may have been billed)",
    PlanAction.REFUSE: "refused",
}


def problem(outcome: Outcome) -> str:
    """Returns why an input is not saved, or what else is to be known of it; often empty."""
    if outcome.state is JobState.SKIPPED or is_unstarted(outcome):
        return ""
    if outcome.state is JobState.SAVED:
        parts = [] if outcome.error is None else [outcome.error.message]
        if number := withheld_of(outcome.result):
            images = count(number, "image")
            was = "was" if number == 1 else "were"
            parts.append(f"{images} {was} withheld as unsafe by the gateway, but billed.")
        return " ".join(parts)
    said = [_earlier(outcome)]
    if outcome.error is not None and not (outcome.state is JobState.ACCEPTED and _task(outcome)):
        said.append(failure(outcome.error))
    said += [_task(outcome), billed(outcome.billed)]
    return " ".join(filter(None, said))


def _earlier(outcome: Outcome) -> str:
    """Says that it was not sent now because of what came of it before."""
    if was_sent(outcome):
        return ""
    if outcome.state is JobState.UNCERTAIN:
        was = "was" if outcome.billed is Billed.YES else "may have been"
        return f"Not sent again: an earlier run {was} billed for it, and ended so:"
    if outcome.state is JobState.REFUSED and isinstance(outcome.error, APIError):
        return "Not sent again: it was refused in an earlier run (--retry-refused sends it):"
    return ""


def _task(outcome: Outcome) -> str:
    task = outcome.result.task if outcome.result is not None else None
    if task is None or (outcome.result is not None and outcome.result.images):
        return ""
    return (
        f"The gateway has not finished it: task {printable(task.task_id, 200)}, "
        f"{printable(task.task_status, 50)!r}. With --task-path, the next run fetches it within "
        "24 hours."
    )


def cost(images: int, price: Decimal | None) -> str:
    """Returns `3 images`, with what they cost if a price is given."""
    told = count(images, "image")
    return told if price is None else f"{told} at {price:f} = {images * price:f}"


def plan_detail(planned: PlannedJob) -> str:
    """Returns what there is to know of a plan besides its action, on one line; often nothing."""
    if planned.error is not None:
        return planned.error.message
    if planned.action is not PlanAction.SEND:
        return ""
    return ledger_words.paid_twice({planned.billed: planned.images}) or ""


def planned(
    counts: Mapping[PlanAction, int],
    images: int,
    price: Decimal | None,
    limit: int | None,
    again: Mapping[Billed, int],
) -> str:
    """Returns the summary of a plan.

    Args:
        counts: how many inputs would be treated how.
        images: how many images would be billed.
        price: of an image.
        limit: how many may be billed at most.
        again: how many of the images did cost money before, or may have.
    """
    said = [f"{counts[action]:,} {text}" for action, text in _ACTIONS.items() if counts.get(action)]
    total = count(sum(counts.values()), "photo")
    text = f"{total}: {', '.join(said)}. To be billed: {cost(images, price)}."
    if limit is not None and images > limit:
        text += f" --max-images stops at {cost(limit, price)}."
    if (risk := ledger_words.paid_twice(again)) is not None:
        text += f" OF THESE, {risk}."
    return text


def summary(meter: Meter, price: Decimal | None, *, emulated: bool) -> str:
    """Returns the summary of a run."""
    told = dict(meter.counts)
    earlier = told.pop("skipped", 0)
    said = [_counted(told)] if told else []
    if earlier:
        said.append(f"{earlier:,} done by an earlier run")
    if missing := meter.total - meter.done:
        said.append(f"{missing:,} not looked at")
    text = f"{count(meter.total, 'photo')}: {', '.join(said) or 'nothing done'}."
    return f"{text} {_spent(meter.spent, price, emulated=emulated)}."


def _spent(images: int, price: Decimal | None, *, emulated: bool) -> str:
    what = "The gateway would have billed" if emulated else "Billed or maybe billed in this run"
    return f"{what}: {cost(images, price)}"


def advice(counts: Mapping[JobState, int], unreadable: int, ledger: Path) -> Iterator[str]:
    """Yields what to do next."""
    known = LedgerCounts(inputs=counts, unreadable=unreadable, jobs=0, billed=0, maybe_billed=0)
    yield from ledger_words.advice(known, FileCounts(), ledger)


def waiting(number: int | None, seconds: float) -> str:
    """Returns what is said at the first signal.

    Args:
        number: how many calls are paid for and have no response yet; None if that is not known.
        seconds: how long they are waited for.
    """
    if number is None:
        paid = "paid calls and downloads, if there are any"
    else:
        paid = count(number, "paid call") if number else "downloads, if there are any"
    return (
        f"Stopping: nothing new is started. Waiting up to {seconds:.0f} s for {paid}; press Ctrl-C "
        "again to stop at once."
    )


def cut_off(
    spent: int, unsaved: int | None, price: Decimal | None, ledger: Path, *, emulated: bool
) -> str:
    """Returns the last line of a run that a second Ctrl-C ends.

    Args:
        spent: for how many images it was, or may have been, billed.
        unsaved: how many of these are not saved; None if that is not known.
        price: of an image.
        ledger: the ledger.
        emulated: whether an emulator stood in for the gateway.
    """
    shown = shown_path(shlex.quote(str(ledger)))
    are = "is" if unsaved == 1 else "are"
    open_ = "" if unsaved is None else f", of which {unsaved:,} {are} not saved"
    return (
        f"Stopped at once. {_spent(spent, price, emulated=emulated)}{open_}. All of it is "
        "recorded: run the same command again to go on; it downloads what is paid for, and holds "
        f"what may be. To look at it: chainhub ledger status {shown}"
    )


def stopped(reason: ChainHubError) -> str:
    """Returns what is said when the batch stops by itself."""
    limited = isinstance(reason, SpendLimitError)
    why = "--max-images is reached." if limited else reason.message
    return f"Nothing new is started: {why}"


def progress(meter: Meter, price: Decimal | None) -> list[str]:
    """Returns the lines below the bar."""
    parts = [_counted(meter.counts)] if meter.counts else []
    if meter.retries:
        parts.append("1 retry" if meter.retries == 1 else f"{meter.retries:,} retries")
    lines = [" · ".join([*parts, f"spent: {cost(meter.spent, price)}"])]
    if (pause := meter.pause) is not None:
        asked, left = pause
        lines.append(f"paused: the gateway asked to wait {asked:.0f} s; {left:.0f} s left")
    return lines


def speed(meter: Meter) -> str:
    """Returns `12.0 images/min, 0:03:10 left`, as far as it is known."""
    rate, left = meter.images_per_minute, meter.seconds_left
    if rate is None or left is None:
        return ""
    return f"{rate:.1f} images/min, {_duration(left)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02.0f}"


def _counted(counts: Mapping[str, int]) -> str:
    order = [state.value.lower() for state in JobState]
    words = {"pending": "failed (not billed)", "accepted": "paid for but not saved"}
    known = sorted(counts, key=lambda word: order.index(word) if word != NOT_STARTED else 99)
    return ", ".join(f"{counts[word]:,} {words.get(word, word)}" for word in known)


def is_owed(outcome: Outcome) -> bool:
    """Returns whether something was, or may have been, billed and is not saved."""
    if outcome.state is JobState.SKIPPED:
        return False
    complete = outcome.state is JobState.SAVED and not withheld_of(outcome.result)
    return outcome.billed is not Billed.NO and not complete
