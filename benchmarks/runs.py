"""The results of finished runs, read back from their files."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
from harness import Result


@attrs.frozen(kw_only=True)
class Run:
    """One run of `run.py`, and what it ran on."""

    machine: dict[str, Any]
    results: list[Result]

    def of(
        self, suite: str, *where: Callable[[dict[str, Any]], bool], with_: Iterable[str] = ()
    ) -> Iterator[Result]:
        """Yields the results of a suite whose facts are so, and in which these took part."""
        for result in self.results:
            there = result.suite == suite and set(with_) <= set(result.runs)
            if there and all(each(result.facts) for each in where):
                yield result


def read(paths: Iterable[Path]) -> list[Run]:
    """Reads the JSON files of runs."""
    runs: list[Run] = []
    for path in paths:
        raw = json.loads(path.read_text(encoding="utf-8"))
        results = [Result(**each) for each in raw["results"]]
        runs.append(Run(machine=raw["machine"], results=results))
    return runs


def ratio(result: Result, name: str, figure: str, *, to: str | None = None) -> float:
    """Returns the median of the ratios of a cell."""
    return statistics.median(result.ratios(name, figure, to=to))


def difference(result: Result, name: str, figure: str, *, to: str) -> float:
    """Returns the median of the differences between neighbours in time."""
    pairs = zip(result.runs[name], result.runs[to], strict=True)
    return statistics.median(one[figure] - other[figure] for one, other in pairs)
