"""Prints each outcome of a batch at once, and keeps of it what the summary needs."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from chainhub_async.batch.jobs import JobState, Outcome
from chainhub_async.cli import batch_wording, exits, output
from chainhub_async.cli.batch_display import BatchDisplay
from chainhub_async.cli.batch_meter import Meter, is_unstarted
from chainhub_async.cli.json_words import outcome_facts
from chainhub_async.cli.outcome import ACCOUNT_ERRORS
from chainhub_async.cli.shown import shown_path
from chainhub_async.errors import (
    ChainHubError,
    ConfigurationError,
    InvalidRequestError,
    LedgerError,
)


class BatchDesk:
    """Prints saved paths, or JSON, on standard output, and sentences on standard error.

    Args:
        meter: counts the outcomes.
        display: is hidden while lines are printed.
        directory: where images are saved, as the user named it.
        as_json: whether each outcome is a line of JSON on standard output.
        quiet: whether only what is wrong is told.
    """

    def __init__(
        self, meter: Meter, display: BatchDisplay, directory: Path, *, as_json: bool, quiet: bool
    ) -> None:
        self._meter = meter
        self._display = display
        self._directory = directory
        self._as_json = as_json
        self._quiet = quiet
        self._stdout, self._stderr = output.stdout(), output.stderr()
        self._on_terminal = output.is_terminal(sys.stdout)
        self._in_one = output.are_one(sys.stdout, sys.stderr)
        self._codes: set[int] = set()
        self._states: Counter[JobState] = Counter()
        self._unreadable = 0
        self._told_stop = False
        self._failed = False

    def take(self, outcome: Outcome) -> None:
        """Prints an outcome and counts it."""
        self._meter.take(outcome)
        self._codes.add(code_of(outcome))
        state = outcome.state
        self._states[JobState.SAVED if state is JobState.SKIPPED else state] += 1
        self._unreadable += state is JobState.REFUSED and outcome.key is None
        lines = self._lines(outcome)
        self._print(lines, self._sentences(outcome, is_told=bool(lines) and self._in_one))

    def tell_stop(self, reason: ChainHubError) -> None:
        """Says once why nothing new is started, and remembers it for the exit code."""
        if not self._told_stop:
            self._told_stop = True
            self._codes.add(code_of_error(reason))
            self._print([], [batch_wording.stopped(reason)])

    def tell_interruption(self, sentence: str) -> None:
        """Ends the display and says what is waited for."""
        self._told_stop = True
        self._display.close()
        self._stderr.line(sentence)

    def tell_end(self, sentence: str) -> None:
        """Says the last words, from a signal handler."""
        with suppress(RuntimeError):  # a line is just being written
            self._display.close()
        output.last_words(sentence)

    def fail(self, message: str, code: int) -> None:
        """Says what ended the run early."""
        self._failed = True
        self._codes.add(code)
        self._display.close()
        self._stderr.line(f"Error: {message}")

    def finish(self, ledger: Path, price: Decimal | None, *, emulated: bool) -> None:
        """Prints a summary of the run, and what to do next."""
        # What could not even begin was told.
        began = self._meter.done or not self._failed
        if began and (not self._quiet or self.exit_code != exits.SAVED):
            self._stderr.line(batch_wording.summary(self._meter, price, emulated=emulated))
            for sentence in batch_wording.advice(self._states, self._unreadable, ledger):
                self._stderr.line(sentence)
        if self._stdout.problem is not None:
            self._stderr.line(f"Standard output is incomplete: {self._stdout.problem}.")

    @property
    def exit_code(self) -> int:
        """The exit code for all outcomes together."""
        lost = {exits.FAILED} if self._stdout.problem is not None else set[int]()
        return exits.of_many(self._codes | lost)

    def _print(self, lines: Sequence[str | bytes], sentences: Sequence[str]) -> None:
        if sentences or (lines and self._on_terminal):
            with self._display.aside():
                self._write(lines, sentences)
        else:
            self._write(lines, sentences)

    def _write(self, lines: Sequence[str | bytes], sentences: Sequence[str]) -> None:
        for line in lines:
            self._stdout.line(line)
        for sentence in sentences:
            self._stderr.line(sentence)

    def _sentences(self, outcome: Outcome, *, is_told: bool) -> list[str]:
        problem = batch_wording.problem(outcome)
        name = shown_path(outcome.request.image)
        if problem:
            return [f"{outcome.state.value} {name}: {problem}"]
        # The bar tells of what goes well, and the summary of what was not started.
        if self._quiet or self._display.is_live or is_told or is_unstarted(outcome):
            return []
        saved = ", ".join(map(shown_path, self._saved(outcome)))
        return [f"{outcome.state.value} {name}{' → ' if saved else ''}{saved}"]

    def _lines(self, outcome: Outcome) -> Sequence[str | bytes]:
        if self._as_json:
            return [as_json(outcome, self._saved(outcome))]
        if outcome.state is JobState.SKIPPED:
            return []
        if self._on_terminal:
            return [shown_path(path) for path in self._saved(outcome)]
        # A program reads them: exactly the bytes of the name.
        return [os.fsencode(path) for path in self._saved(outcome)]

    def _saved(self, outcome: Outcome) -> list[Path]:
        """Returns the files by the name that the user gave the directory."""
        return [self._directory / path.name for path in outcome.saved]


def code_of(outcome: Outcome) -> int:
    """Returns the exit code for an outcome alone."""
    if batch_wording.is_owed(outcome):
        return exits.BILLED
    if outcome.state in {JobState.SAVED, JobState.SKIPPED}:
        return exits.SAVED
    return code_of_error(outcome.error)


def code_of_error(error: ChainHubError | None) -> int:
    """Returns the exit code for an input that failed, or was not sent, at no cost."""
    if isinstance(error, ACCOUNT_ERRORS):
        return exits.ACCOUNT
    if isinstance(error, ConfigurationError | LedgerError):
        return exits.NOT_SET_UP
    return exits.USAGE if isinstance(error, InvalidRequestError) else exits.FAILED


def as_json(outcome: Outcome, saved: Sequence[Path]) -> str:
    """Returns the line of `--json`: ASCII only, so that it cannot control a terminal."""
    facts = outcome_facts(
        index=outcome.index,
        image=outcome.request.image,
        state=outcome.state,
        billed=outcome.billed,
        saved=saved,
        result=outcome.result,
        error=outcome.error,
    )
    return json.dumps(facts | {"key": outcome.key, "spent": outcome.spent})
