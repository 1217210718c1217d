"""Lets contenders take turns, each time in a process of its own, and keeps what they report."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from machine import pinned

Report = dict[str, float]
Runs = dict[str, list[Report]]
_LONGEST = 600


class FailedError(Exception):
    """A contender did not do its job."""


@attrs.frozen(kw_only=True)
class Settings:
    """What is to be measured.

    Attributes:
        full: all cells, or the quick ones.
        rounds: how often each contender has its turn; None for the suite's own number.
        seconds: how long a turn starts calls, where their number is free.
        budget: roughly how many bytes a turn moves, where each has a file of its own.
        only: cells with this in their title; all of them if empty.
        folder: for files, on the disk that is to be measured.
        versions: directories with other versions of this package.
    """

    full: bool
    rounds: int | None
    seconds: float
    budget: int
    only: str
    folder: Path
    versions: tuple[Path, ...] = ()

    def rounds_or(self, quick: int, full: int) -> int:
        return self.rounds or (full if self.full else quick)


@attrs.frozen(kw_only=True)
class Result:
    """What was measured in one cell.

    Attributes:
        suite: which suite it is of.
        title: what kind of work it is.
        baseline: the contender that others are compared to.
        figures: which figures its table shows.
        compared: which of them it shows as ratios to the baseline, turn by turn.
        runs: what each contender reported, turn by turn.
        facts: the numbers that make up the title, and whatever else belongs to it.
        notes: sentences for the reader.
    """

    suite: str
    title: str
    baseline: str
    figures: list[str]
    compared: list[str]
    runs: Runs
    facts: dict[str, Any] = attrs.field(factory=dict[str, Any])
    notes: list[str] = attrs.field(factory=list[str])

    def median(self, name: str, figure: str) -> float:
        return statistics.median(report[figure] for report in self.runs[name])

    def ratios(self, name: str, figure: str, *, to: str | None = None) -> list[float]:
        """Returns the ratios to another contender, each of two neighbours in time."""
        pairs = zip(self.runs[name], self.runs[to or self.baseline], strict=True)
        return [
            one[figure] / other[figure]
            for one, other in pairs
            if figure in one and other.get(figure)
        ]


def process(
    script: Path, given: dict[str, Any], package: Path | None = None, *, pin: bool = True
) -> Report:
    """Runs a script and returns the JSON that it prints.

    Args:
        script: the script.
        given: what it gets, as JSON.
        package: the directory to import this package from, instead of where it is installed.
        pin: keep it on one core, which is not the server's.

    Raises:
        FailedError: it failed, or took longer than ten minutes.
    """
    command = [*(pinned(1) if pin else []), sys.executable, str(script), json.dumps(given)]
    environment = os.environ | ({"PYTHONPATH": str(package)} if package else {})
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"it took longer than {_LONGEST} s") from None
    if done.returncode:
        said = " / ".join(done.stderr.strip().splitlines()[-3:]).strip(".")
        said = said.replace(f"{script.parent}{os.sep}", "")  # where it lies is nobody's business
        raise FailedError(f"it ended with {done.returncode}: {said}")
    report: Report = json.loads(done.stdout)
    return report


def take_turns(
    contenders: Iterable[str],
    rounds: int,
    once: Callable[[str], Report],
    *,
    essential: Iterable[str],
) -> tuple[Runs, list[str]]:
    """Runs A B C A B C …; whoever fails is out, and said to be, unless it is essential."""
    runs: Runs = {name: [] for name in contenders}
    notes: list[str] = []
    for _ in range(rounds):
        for name in list(runs):
            try:
                runs[name].append(once(name))
            except FailedError as failed:
                if name in essential:
                    raise SystemExit(f"{name} failed: {failed}.") from None
                del runs[name]
                notes.append(f"{name} failed: {failed}.")
    return runs, notes
