"""One picture of finished runs: upload rates over the baseline's, cell by cell."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import attrs
from goal_list import RATE
from pictures import KB
from runs import Run, ratio
from uploads import OWN

# The picture stays legible with a few: an SDK, what costs most memory, the fastest, and this one.
SHOWN = {
    "openai": ("openai", "s", "#868e96"),
    "aiohttp-bytes": ("aiohttp, file read into memory", "D", "#f59f00"),
    "pycurl-multi": ("pycurl multi (C)", "^", "#1c7ed6"),
    OWN: ("chainhub-async", "o", "#d6336c"),
}


@attrs.frozen
class Row:
    """One cell: the median rate of each run, for each contender in it."""

    title: str
    rates: dict[str, list[float]]


def draw(runs: list[Run], to: Path) -> None:
    """Draws the rates, if matplotlib is installed."""
    rows = _rows(runs)
    try:
        import matplotlib as mpl  # pyright: ignore[reportMissingImports]  # of the bench session
    except ImportError:
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # pyright: ignore[reportMissingImports]  # see above

    if not rows:
        return
    figure, axes = plt.subplots(figsize=(8, 1.4 + 0.27 * len(rows)))
    for name, (label, marker, colour) in SHOWN.items():
        _dots(axes, name, rows, label=label, marker=marker, color=colour)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    every = [rate for row in rows for rates in row.rates.values() for rate in rates]
    axes.set_xlim(min(0.2, 0.85 * min(every)), max(5, 1.15 * max(every)))
    axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4], ["⅛", "¼", "½", "1", "2", "4"])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color="#e9ecef")
    axes.grid(axis="y", color="#f1f3f5")
    axes.set_axisbelow(True)
    axes.set_xlabel("uploads per second, in multiples of aiohttp's form with an open file (log)")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncol=5, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / (1.4 + 0.27 * len(rows))))
    figure.savefig(to, dpi=100)


def _dots(axes: Any, name: str, rows: list[Row], **look: str) -> None:
    """Draws one contender: medians, and a line from the lowest run to the highest."""
    found = [(place, row.rates[name]) for place, row in enumerate(rows) if name in row.rates]
    for place, rates in found:
        axes.plot([min(rates), max(rates)], [place, place], color=look["color"], linewidth=1.2)
    middles = [statistics.median(rates) for _, rates in found]
    size = 8 if name == OWN else 5.5
    axes.plot(middles, [place for place, _ in found], linestyle="none", markersize=size, **look)


def _rows(runs: list[Run]) -> list[Row]:
    rows: dict[str, Row] = {}
    for run in runs:
        for result in run.of("uploads", lambda facts: facts["size"] >= 100 * KB):
            if result.facts["server"] == "slow":
                continue  # its rate is the server's
            title = result.title.replace(", plain", "").replace("tls", "TLS")
            row = rows.setdefault(result.title, Row(title, {}))
            for name in SHOWN:
                if name in result.runs:
                    row.rates.setdefault(name, []).append(ratio(result, name, RATE))
    return list(rows.values())
