"""Prints each outcome at once and keeps it for the summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from chainhub_async.cli import exits, output, wording
from chainhub_async.cli.display import Display
from chainhub_async.cli.outcome import Outcome, State
from chainhub_async.cli.shown import shown_path


class Desk:
    """Prints saved paths, or JSON, on standard output, and sentences on standard error.

    Args:
        display: is hidden while lines are printed.
        as_json: whether each outcome is a line of JSON on standard output.
    """

    def __init__(self, display: Display, *, as_json: bool) -> None:
        self._display = display
        self._as_json = as_json
        self._stdout, self._stderr = output.stdout(), output.stderr()
        self._on_terminal = output.is_terminal(sys.stdout)
        self._outcomes: list[Outcome] = []
        self._interrupted = False

    def interrupt(self) -> None:
        """The run is being cancelled: ends the display; `finish` prints the summary."""
        self._interrupted = True
        self._display.close()

    def take(self, outcome: Outcome) -> None:
        """Prints an outcome and keeps it."""
        self._outcomes.append(outcome)
        with self._display.aside():
            for line in self._lines(outcome):
                self._stdout.line(line)
            for sentence in self._sentences(outcome):
                self._stderr.line(sentence)

    def finish(self, *, quiet: bool) -> None:
        """Prints a one-line summary of the run."""
        if self._interrupted:
            self._stderr.line(wording.interrupted(self._outcomes))
        elif len(self._outcomes) > 1 and not quiet:
            self._stderr.line(wording.summary(self._outcomes))
        if self._stdout.problem is not None:
            self._stderr.line(f"Standard output is incomplete: {self._stdout.problem}.")

    @property
    def exit_code(self) -> int:
        """The exit code for all outcomes together."""
        lost = {exits.FAILED} if self._stdout.problem is not None else set[int]()
        return exits.of_many({outcome.exit_code for outcome in self._outcomes} | lost)

    def _sentences(self, outcome: Outcome) -> list[str]:
        # The summary covers what an interruption cancelled, unless there is something to keep.
        broken_off = outcome.state in {State.CANCELLED, State.NOT_STARTED}
        if self._interrupted and broken_off and outcome.result is None:
            return []
        return wording.sentences(outcome)

    def _lines(self, outcome: Outcome) -> Sequence[str | bytes]:
        if self._as_json:
            return [outcome.as_json()]
        if self._on_terminal:
            return [shown_path(path) for path in outcome.saved]
        # A program reads them: exactly the bytes of the name.
        return [os.fsencode(path) for path in outcome.saved]
