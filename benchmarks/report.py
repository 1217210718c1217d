"""The tables of a run, in Markdown: medians, and ratios with the lowest and the highest."""

from __future__ import annotations

import statistics

from harness import Result

TITLES = {
    "requests_per_second": "requests/s",
    "items_per_second": "images/s",
    "mb_per_second": "MB/s",
    "ms_per_call": "ms/call",
    "cpu_ms": "CPU ms/request",
    "client_busy_percent": "client busy %",
    "server_busy_percent": "server busy %",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "late_p99_ms": "loop late p99 ms",
    "late_worst_ms": "worst ms",
    "rss_growth_mb": "RSS growth MB",
    "sockets": "sockets",
    "import_ms": "import ms",
    "process_ms": "whole process ms",
}
# What the ratio of a figure is called, where its title does not do.
RATIOS = {
    "requests_per_second": "rate",
    "items_per_second": "rate",
    "cpu_ms": "CPU",
    "late_p99_ms": "loop late p99",
    "import_ms": "import",
    "process_ms": "whole process",
}
NONE = "-"


def table(result: Result) -> str:
    """Returns a cell as a heading, a table and its notes."""
    ratios = [f"{RATIOS[figure]}, of the baseline's" for figure in result.compared]
    heads = [TITLES[figure] for figure in result.figures] + ratios
    lines = [f"\n### {result.title} (baseline: {result.baseline})\n"]
    lines.append("| | " + " | ".join(heads) + " |")
    lines.append("| --- |" + " ---: |" * len(heads))
    for name in result.runs:
        cells = [_median(result, name, figure) for figure in result.figures]
        cells += [_ratio(result, name, figure) for figure in result.compared]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    turns = max(len(reports) for reports in result.runs.values())
    lines.append(f"\nMedians of {turns} turns; ratios: median (lowest to highest).")
    lines += [f"\n{note}" for note in result.notes]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Returns a median with the lowest and the highest value."""
    return f"**{statistics.median(values):.2f}** ({min(values):.2f} to {max(values):.2f})"


def _median(result: Result, name: str, figure: str) -> str:
    found = [report[figure] for report in result.runs[name] if figure in report]
    return f"{statistics.median(found):.2f}" if found else NONE


def _ratio(result: Result, name: str, figure: str) -> str:
    found = result.ratios(name, figure)
    return spread(found) if found else NONE
