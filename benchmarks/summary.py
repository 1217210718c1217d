"""Sums up finished runs for the README: `python summary.py results/run-*.json` in this directory.

Of each cell the median of the runs, with the lowest and the highest in brackets.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

from goal_list import CPU, LATE, RATE, RSS
from harness import Result
from runs import Run, ratio, read
from uploads import BASELINE, OWN

SHOWN = [
    "100 KB x 1, plain",
    "100 KB x 32, plain",
    "1 MB x 1, plain",
    "1 MB x 32, plain",
    "10 MB x 32, plain",
    "1 MB x 1000, delayed",
    "1 MB x 32, tls",
    "1 MB x 1000, tls delayed",
]
OTHERS = {
    "openai": "openai",
    "httpx": "httpx",
    "requests-threads": "requests in threads",
    "aiohttp-bytes": "aiohttp, file read into memory",
    "pyreqwest": "pyreqwest (Rust)",
    "pycurl-multi": "pycurl (C)",
}


def rows(runs: list[Run]) -> list[str]:
    """Returns the lines of the table, in Markdown."""
    titles = ["size x in flight", "uploads/s", "rate", "CPU", "loop late, p99", "memory growth"]
    lines = _heading(titles)
    for title, found in _found(runs):
        lines.append(_row(title, found))
    lines += ["", *_heading(["this package's rate over", *OTHERS.values()])]
    for title, found in _found(runs):
        lines.append(f"| {' | '.join([title, *(_over(found, name) for name in OTHERS)])} |")
    return lines


def _heading(titles: list[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]


def _found(runs: list[Run]) -> Iterator[tuple[str, list[Result]]]:
    for title in SHOWN:
        found = [each for run in runs for each in run.of("uploads") if each.title == title]
        if found:
            yield title.replace(", plain", "").replace("tls", "TLS"), found


def _row(title: str, found: list[Result]) -> str:
    over = [_spread([ratio(each, OWN, figure) for each in found]) for figure in (RATE, CPU)]
    beside = [
        f"{_middle(found, OWN, figure)} {unit} (form: {_middle(found, BASELINE, figure)})"
        for figure, unit in ((LATE, "ms"), (RSS, "MB"))
    ]
    return f"| {' | '.join([title, _middle(found, OWN, RATE), *over, *beside])} |"


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _middle(found: list[Result], name: str, figure: str) -> str:
    return f"{statistics.median(each.median(name, figure) for each in found):,.0f}"


def _over(found: list[Result], name: str) -> str:
    values = [ratio(each, OWN, RATE, to=name) for each in found if name in each.runs]
    return f"{statistics.median(values):.2f}" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="JSON files of runs")
    print("\n".join(rows(read(parser.parse_args().runs))))


if __name__ == "__main__":
    main()
