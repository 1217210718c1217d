"""`chainhub ledger`: looks into a batch's ledger, and puts jobs back to be sent again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from chainhub_async.batch.jobs import JobState
from chainhub_async.cli import output
from chainhub_async.cli.problems import Failed
from chainhub_async.errors import LedgerError

if TYPE_CHECKING:
    from chainhub_async.batch.facts import LedgerEntry
    from chainhub_async.batch.reader import LedgerReader

_STATES = [state.value for state in JobState if state is not JobState.SKIPPED]
_RETRIED = [
    state.value
    for state in (JobState.REFUSED, JobState.UNCERTAIN, JobState.EXPIRED, JobState.SAVED)
]

_ledger = click.argument("ledger", type=click.Path(path_type=Path))


def _prefixes(_: click.Context, __: click.Parameter, keys: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        # An empty one, from an unset variable, would choose every job.
        if not (key.isalnum() and key.isascii()):
            raise click.BadParameter(f"{key!r} is not the beginning of a key.")
    return tuple(key.lower() for key in keys)


@click.group("ledger")
def command() -> None:
    """Look into a batch's ledger, and put jobs back to be sent again.

    A ledger may be read at any time, also while a batch is running.
    """


@command.command("status")
@_ledger
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON object: inputs (how many, by state), unreadable (how many of those REFUSED "
    "could not become calls), jobs, images (billed, maybe_billed), files (unchanged, changed, "
    "gone, gone_downloadable: of these, free of charge by the next run), last_run, next (what to "
    "do).",
)
def show_status(ledger: Path, *, as_json: bool) -> None:
    """Show how many inputs are in which state, what was billed, and what to do next.

    It knows the inputs that runs have read so far, and looks whether the files of SAVED results are
    still there.
    """
    from chainhub_async.cli import ledger_files, ledger_words

    with _reading(ledger) as reader:
        counts, run = reader.counts(), reader.last_run()
        files = ledger_files.look(reader.files())
    if not as_json:
        _print(ledger_words.status(counts, files, run, ledger))
        return
    told = {
        "inputs": {state.value: number for state, number in counts.inputs.items()},
        "unreadable": counts.unreadable,
        "jobs": counts.jobs,
        "images": {"billed": counts.billed, "maybe_billed": counts.maybe_billed},
        "files": attrs.asdict(files),
        "last_run": None if run is None else attrs.asdict(run),
        "next": list(ledger_words.advice(counts, files, ledger)),
    }
    _print([json.dumps(told)])


@command.command("list")
@_ledger
@click.option(
    "--state",
    "states",
    type=click.Choice(_STATES, case_sensitive=False),
    multiple=True,
    help="Only inputs in this state. May be repeated.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON per input, with the names of `batch --json`: image (null if it "
    "was in memory), key, state, billed, images (how many it makes), options, saved, error, "
    "request_id, attempts (how many), updated_at.",
)
def show_list(ledger: Path, states: tuple[str, ...], *, as_json: bool) -> None:
    """List the inputs: state, file, and where it was saved or why not.

    When piped, the fields are separated by tabs, and paths are printed unchanged.
    """
    from chainhub_async.cli.ledger_export import facts

    with _reading(ledger) as reader:
        chosen = [JobState(state) for state in states]
        if as_json:
            _print(json.dumps(facts(entry)) for entry in reader.entries(chosen))
        else:
            _print(map(_line, reader.entries(chosen)))


@command.command("export")
@_ledger
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    help="csv is for spreadsheets; jsonl has the objects of `list --json`, with the history of "
    "attempts and the gateway's reply. Default: what the name of FILE ends with, or csv.",
)
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: standard output.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(ledger: Path, form: str | None, target: Path | None, *, force: bool) -> None:
    """Export everything known of each input, with the history of its attempts.

    In CSV, a cell that a spreadsheet would run as a formula begins with an apostrophe.
    """
    from chainhub_async.cli import ledger_export, whole_file

    if target is not None:
        _check_target(ledger, target, force=force)
        form = form or target.suffix.lower().removeprefix(".")
    with _reading(ledger) as reader:
        if form == "jsonl":
            lines = ledger_export.json_lines(reader)
        else:
            terminal = target is None and output.is_terminal(sys.stdout)
            lines = ledger_export.csv_lines(reader, escaped=terminal)
        if target is None:
            _print(lines)
        else:
            whole_file.write(target, (f"{line}\n" for line in lines))


@command.command("retry")
@_ledger
@click.option(
    "--state",
    "states",
    type=click.Choice(_RETRIED, case_sensitive=False),
    multiple=True,
    required=True,
    help="Which jobs. May be repeated.",
)
@click.option(
    "--key",
    "keys",
    metavar="PREFIX",
    multiple=True,
    callback=_prefixes,
    help="Only jobs whose key begins with this; `list --json` shows the keys. May be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask, even if it may be PAID FOR TWICE.")
def retry(ledger: Path, states: tuple[str, ...], keys: tuple[str, ...], *, yes: bool) -> None:
    """Put jobs back, so that the next run of the batch sends them again.

    Nothing is sent now. UNCERTAIN jobs may be paid for twice; EXPIRED ones are paid for again, and
    so are SAVED ones, such as those whose files are lost: these are named by --key.
    """
    from chainhub_async.batch.ledger import retry_jobs
    from chainhub_async.cli.ledger_words import count, warning

    chosen = [JobState(state) for state in states]
    if JobState.SAVED in chosen and not keys:
        raise click.UsageError(
            "Nothing was changed: --state SAVED needs --key, since it would put back everything "
            "that is done. `chainhub ledger list --json` shows the keys."
        )
    with _reading(ledger) as reader:
        shares = reader.shares(chosen, keys)
    stderr = output.stderr()
    if not shares:
        stderr.line("No job matches; nothing was changed.")
        return
    risk = warning(shares)
    if risk is not None:
        stderr.line(f"If sent again, {risk}.")
        if not yes and not _agreed():
            raise Failed("Nothing was changed.")
    try:
        number = retry_jobs(ledger, chosen, keys)
    except LedgerError as problem:
        raise Failed(problem.message) from None
    stderr.line(
        f"{count(number, 'job')} put back. Run the batch again with this ledger to send "
        f"{'it' if number == 1 else 'them'}."
    )


def _agreed() -> bool:
    if not output.is_terminal(sys.stdin):
        raise click.UsageError("Nothing was changed. If you accept that, add --yes.")
    return click.confirm("Put them back to be sent again?", err=True)


def _check_target(ledger: Path, target: Path, *, force: bool) -> None:
    try:
        if target.exists() and target.samefile(ledger):
            raise click.UsageError("FILE is the ledger itself.")
    except OSError:
        pass  # whichever cannot be read says so later
    if target.exists() and not force:
        raise click.UsageError(f"{str(target)!r} exists; --force replaces it.")


@contextmanager
def _reading(ledger: Path) -> Generator[LedgerReader, None, None]:
    from chainhub_async.batch.reader import LedgerReader

    try:
        with LedgerReader(ledger) as reader:
            yield reader
    except LedgerError as problem:
        raise Failed(problem.message) from None


def _line(entry: LedgerEntry) -> str | bytes:
    from chainhub_async.cli import ledger_words

    if output.is_terminal(sys.stdout):
        told = ledger_words.detail(entry)
        name = ledger_words.source(entry)
        return f"{entry.state.value:<9}  {name}{'  →  ' if told else ''}{told}"
    # A program reads them: exactly the names.
    saved = entry.saved if entry.state is JobState.SAVED else ()
    fields = [entry.state.value, entry.source, *(saved or [ledger_words.detail(entry)])]
    return os.fsencode("\t".join(fields))


def _print(lines: Iterator[str] | Iterator[str | bytes] | list[str]) -> None:
    stdout = output.stdout()
    for line in lines:
        stdout.line(line)
    if stdout.problem is not None:
        raise Failed(f"Standard output is incomplete: {stdout.problem}.")
