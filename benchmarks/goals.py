"""Holds finished runs against the goals: `python goals.py results/run-*.json` in this directory.

Of each run the worst cell that a goal speaks of counts; of several runs their median, with the
lowest and the highest. Writes a table, and a plot of the rates, beside this module.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import goals_plot
import machine
from goal_list import GOALS, Goal
from runs import Run, read

HERE = Path(__file__).parent
LEGEND = """The baseline is aiohttp with a form and an open file.
A cell is a size, how many uploads are under way at once, and a server: `plain` answers at once,
`delayed` after 200 ms, `slow` reads slowly. Of each run the worst cell counts ("of 11" says of how
many). Memory (RSS) grows from what the process has after its first call to its peak; the loop is
late by what a sleep of 5 ms takes longer."""


def row(goal: Goal, runs: list[Run]) -> str:
    """Returns a goal's line of the table."""
    found = [worst for run in runs if (worst := goal.worst(run)) is not None]
    if not found:
        return f"| {goal.what} | {goal.goal} | | | | not measured |"
    values = [value for value, *_ in found]
    middle = statistics.median(values)
    met = sum(map(goal.met, values))
    verdict = "met" if goal.met(middle) else "**not met**"
    if goal.goal == "none":
        verdict = "no goal"
    elif 0 < met < len(values):
        verdict += f" ({met} of {len(values)} runs)"
    # The cell of the run in the middle.
    _, where, count = min(found, key=lambda one: abs(one[0] - middle))
    beside = _number(goal.beside(where)) if goal.beside else ""
    shown = f"{_number(middle)} {goal.unit}".strip()
    shown += f" ({_number(min(values))} to {_number(max(values))})"
    title = f"{where.title}; of {count}" if count > 1 else where.title
    return f"| {goal.what} | {goal.goal} | {shown} | {beside} | {title} | {verdict} |"


def _number(value: float) -> str:
    """Returns three digits that count, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(runs: list[Run]) -> str:
    """Returns the goals as a table in Markdown."""
    lines = [
        "| what | goal | median of the runs (lowest to highest) | baseline | worst cell | met |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row(goal, runs) for goal in GOALS),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="JSON files of runs")
    parser.add_argument("--to", type=Path, default=HERE, help="where goals.md and rates.png go")
    given = parser.parse_args()
    runs = read(given.runs)
    # Runs of one suite may be of another day.
    measured_on = dict.fromkeys(machine.sentence(run.machine) for run in runs)
    text = "\n\n".join(
        [
            "# Goals",
            f"Written by `goals.py` from {len(runs)} runs. {LEGEND}",
            *measured_on,
            f"{table(runs)}\n",
        ]
    )
    print(text)
    given.to.mkdir(exist_ok=True)
    (given.to / "goals.md").write_text(text, encoding="utf-8")
    goals_plot.draw(runs, given.to / "rates.png")


if __name__ == "__main__":
    main()
