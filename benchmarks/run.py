"""Measures this package and others side by side: `nox -s bench`, or `nox -s bench -- --full`.

Contenders take turns, each run in a process of its own, on another core than the server. What
counts are ratios within a run; the raw figures are kept as JSON beside the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import batches
import blocking_calls
import cold
import download_suite
import imports
import machine
import report
import uploads
import versions
from harness import Result, Settings
from pictures import MB
from server import RESULTS

SUITES: dict[str, Callable[[Settings], Iterator[Result]]] = {
    "uploads": uploads.run,
    "cold": cold.run,
    "downloads": download_suite.run,
    "imports": imports.run,
    "blocking": blocking_calls.run,
    "batches": batches.run,
    "versions": versions.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="BENCH_DIR in the environment names a directory on the disk to be measured.",
    )
    parser.add_argument("--full", action="store_true", help="all sizes, servers and levels")
    parser.add_argument(
        "--suite",
        action="append",
        choices=[*SUITES, "all"],
        help="which suite; may be repeated (all)",
    )
    parser.add_argument("--rounds", type=int, help="how often each contender has its turn")
    parser.add_argument("--seconds", type=float, help="of a turn (0.5, with --full 2)")
    parser.add_argument(
        "--budget", type=int, help="MB a turn moves to or from the disk (150, with --full 400)"
    )
    parser.add_argument("--only", default="", help="only cells with this in their title")
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=Path,
        help="a directory with another version of this package, to be compared (suite versions)",
    )
    parser.add_argument("--name", help="the results' name, without suffix (run- and the time)")
    given = parser.parse_args()
    wanted = given.suite or ["all"]
    if "versions" in wanted and not given.against:
        parser.error("--suite versions needs --against DIRECTORY")
    budget = given.budget or (400 if given.full else 150)
    seconds = given.seconds or (2 if given.full else 0.5)
    began = datetime.now(timezone.utc)
    name = given.name or f"run-{began:%Y%m%d-%H%M%S}"
    raw: dict[str, Any] = {
        "began": began.isoformat(timespec="seconds"),
        "full": given.full,
        "seconds": seconds,
        "budget_mb": budget,
        "machine": machine.facts(),
        "results": [],
    }
    RESULTS.mkdir(exist_ok=True)
    text = f"# {name}\n\n{machine.sentence(raw['machine'])}\n"
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        settings = Settings(
            full=given.full,
            rounds=given.rounds,
            seconds=seconds,
            budget=budget * MB,
            only=given.only,
            folder=Path(folder),
            versions=tuple(path.resolve() for path in given.against),
        )
        for suite, measure in SUITES.items():
            if suite not in wanted and "all" not in wanted:
                continue
            for result in _clocked(measure(settings)):
                raw["results"].append(attrs.asdict(result))
                shown = report.table(result)
                text += shown + "\n"
                print(shown, flush=True)
                # After every cell: what was measured stays when a later one fails.
                (RESULTS / f"{name}.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
                (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    if raw["results"]:
        print(f"\nRaw figures and tables: {RESULTS / name}.json and .md")


def _clocked(results: Iterator[Result]) -> Iterator[Result]:
    """Passes results on with the seconds that each took to measure."""
    began = time.monotonic()
    for result in results:
        result.facts["measured_in_seconds"] = round(time.monotonic() - began, 1)
        yield result
        began = time.monotonic()


if __name__ == "__main__":
    main()
