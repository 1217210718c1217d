"""What `chainhub ledger` says about a ledger. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from chainhub_async.batch.facts import LedgerCounts, LedgerEntry, LedgerRun, LedgerShare
from chainhub_async.batch.jobs import JobState
from chainhub_async.cli.ledger_files import FileCounts
from chainhub_async.cli.shown import shown_path
from chainhub_async.errors import Billed, printable

MEANINGS = {
    JobState.PENDING: "not executed",
    JobState.SENDING: "being sent, or interrupted in that",
    JobState.ACCEPTED: "paid for, not all saved",
    JobState.SAVED: "paid for and saved",
    JobState.REFUSED: "refused, not billed",
    JobState.UNCERTAIN: "billed or maybe billed, without a usable result",
    JobState.EXPIRED: "paid for, no longer downloadable",
}


def status(
    counts: LedgerCounts, files: FileCounts, run: LedgerRun | None, ledger: Path
) -> Iterator[str]:
    """Yields the lines of `status`."""
    total = sum(counts.inputs.values())
    yield f"{count(total, 'input')} read so far, {count(counts.jobs, 'different call')}."
    width = len(f"{total:,}")
    for state, number in counts.inputs.items():
        yield f"  {state.value:<9}  {number:>{width},}  {MEANINGS[state]}"
    if files.unchanged or files.changed or files.gone:
        yield (
            f"Saved files: {files.unchanged:,} unchanged, {files.changed:,} changed since, "
            f"{files.gone:,} gone."
        )
    yield f"Images billed: {counts.billed:,}. Maybe billed besides: {counts.maybe_billed:,}."
    yield f"Last run: {_run(run)}."
    yield from advice(counts, files, ledger)


def advice(counts: LedgerCounts, files: FileCounts, ledger: Path) -> Iterator[str]:
    """Yields what to do next, a sentence for each thing."""
    inputs = counts.inputs
    shown = shown_path(shlex.quote(str(ledger)))
    if n := inputs.get(JobState.ACCEPTED, 0):
        yield (
            f"{count(n, 'input')} paid for, but not saved: run the batch again within 24 hours of "
            "the call, which downloads them free of charge."
        )
    yield from _about_lost(files, shown)
    if n := inputs.get(JobState.SENDING, 0):
        yield (
            f"{count(n, 'input')} being sent by a run in progress, or cut off with one that was "
            "killed: then the next run finds out which of them may have been billed, and holds "
            "those."
        )
    if n := inputs.get(JobState.PENDING, 0):
        yield f"{count(n, 'input')} to do: run the batch again with this ledger to go on."
    if n := inputs.get(JobState.UNCERTAIN, 0):
        yield (
            f"{count(n, 'input')} uncertain: compare with your account's usage. To send them again "
            "AND RISK PAYING TWICE: "
            f"chainhub ledger retry {shown} --state UNCERTAIN"
        )
    if n := inputs.get(JobState.EXPIRED, 0):
        yield (
            f"{count(n, 'input')} expired: to PAY AGAIN for them: "
            f"chainhub ledger retry {shown} --state EXPIRED"
        )
    if n := inputs.get(JobState.REFUSED, 0) - counts.unreadable:
        yield (
            f"{count(n, 'input')} refused: chainhub ledger list {shown} --state REFUSED tells why. "
            f"To send them again as they are: chainhub ledger retry {shown} --state REFUSED"
        )
    if n := counts.unreadable:
        yield (
            f"{count(n, 'input')} not sent, being no valid image or call: correct "
            f"{'it' if n == 1 else 'them'}, then run the batch again."
        )
    if inputs and set(inputs) == {JobState.SAVED} and not files.gone:
        yield f"Everything is saved. To look at it: chainhub gallery {shown}"


def _about_lost(files: FileCounts, ledger: str) -> Iterator[str]:
    if n := files.gone_downloadable:
        yield (
            f"{count(n, 'saved file')} gone, of results from the last 24 hours: run the batch "
            "again with the same output directory, which downloads what the gateway still has free "
            "of charge."
        )
    if n := files.gone - files.gone_downloadable:
        yield (
            f"{count(n, 'saved file')} gone, of older results, which the gateway does not keep: "
            "the next run cannot fetch them and reports their inputs as EXPIRED. To PAY AGAIN for "
            f"one: chainhub ledger retry {ledger} --state SAVED --key KEY (`chainhub ledger list "
            "--json` shows the keys)."
        )


def detail(entry: LedgerEntry) -> str:
    """Returns what there is to know of an entry besides its state, on one line."""
    if entry.saved and entry.state is JobState.SAVED:
        return ", ".join(map(shown_path, entry.saved))
    if entry.state is JobState.SAVED:
        return "withheld as unsafe by the gateway"
    return printable(entry.error.get("message", ""), 1000)


def source(entry: LedgerEntry) -> str:
    """Returns where an input came from, on one line."""
    return shown_path(entry.source) if entry.source else "(in memory)"


def warning(shares: Sequence[LedgerShare]) -> str | None:
    """Returns what sending these jobs again may cost, or None if it costs nothing extra."""
    images = Counter[Billed]()
    for share in shares:
        images[share.billed] += share.images
    return paid_twice(images)


def paid_twice(images: Mapping[Billed, int]) -> str | None:
    """Returns what sending so many images again may cost, or None if it costs nothing extra.

    Args:
        images: how many there are of what did cost money, or may have.
    """
    again, maybe = images.get(Billed.YES, 0), images.get(Billed.MAYBE, 0)
    said = [
        f"{count(again, 'image')} already billed will be PAID FOR AGAIN" if again else "",
        f"{count(maybe, 'image')} maybe billed already MAY BE PAID FOR TWICE" if maybe else "",
    ]
    return "; ".join(filter(None, said)) or None


def count(number: int, what: str) -> str:
    """Returns `1 input`, `2 inputs`, and so on."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _run(run: LedgerRun | None) -> str:
    if run is None:
        return "none"
    told = f"number {run.number}, from {_time(run.started_at)}"
    if run.ended_at is None:
        return f"{told}; it has not ended (process {run.pid}), or was interrupted"
    return f"{told} to {_time(run.ended_at)}"


def _time(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return printable(text, 50)
