"""Uploads of files that are not in memory: whoever reads on the loop stops it for the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import attrs
import cold_files
import server
from harness import Report, Result, Settings, take_turns
from pictures import MB, sized
from uploads import BASELINE, OWN, once, verify

CONTENDERS = [BASELINE, OWN, "aiohttp-bytes", "aiohttp-aiofiles", "raw-sendfile"]
FIGURES = [
    "requests_per_second",
    "mb_per_second",
    "cpu_ms",
    "client_busy_percent",
    "p50_ms",
    "p99_ms",
    "late_p99_ms",
    "late_worst_ms",
    "rss_growth_mb",
]
COMPARED = ["requests_per_second", "cpu_ms", "late_p99_ms"]


@attrs.frozen
class Cell:
    """So many uploads at a time, of different files of one size."""

    size: int
    in_flight: int

    @property
    def title(self) -> str:
        return f"{sized(self.size)} x {self.in_flight}, cold files"


CELLS = [Cell(size, level) for size in (MB, 10 * MB) for level in (1, 32)]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite, or says why this disk does not allow it."""
    cells = [cell for cell in CELLS if settings.only in cell.title]
    if not settings.full:
        cells = [cell for cell in cells if cell.size == MB]
    folder = settings.folder / "cold"
    folder.mkdir()
    try:
        if why := cold_files.why_not(folder):
            print(f"\nCold files were not measured in {settings.folder}: {why}.")
            return
    finally:
        shutil.rmtree(folder)
    if cells:
        verify(CONTENDERS, settings.folder)
    for cell in cells:
        yield _measured(cell, settings)


def _measured(cell: Cell, settings: Settings) -> Result:
    count = max(30, 2 * cell.in_flight, settings.budget // cell.size)
    folder = settings.folder / "cold"
    folder.mkdir()
    # One more: the last one warms up, and each of the others is sent once.
    cold_files.write(folder, count + 1, cell.size)
    with server.sink() as to:

        def turn(name: str) -> Report:
            report = once(name, to, folder, least=count, parallel=cell.in_flight, cold=True)
            report["mb_per_second"] = report["requests_per_second"] * cell.size / MB
            return report

        runs, notes = take_turns(
            CONTENDERS, settings.rounds_or(3, 5), turn, essential=[BASELINE, OWN]
        )
    shutil.rmtree(folder)
    notes.append("The virtual disk of a cloud machine may be answered from its host's memory.")
    return Result(
        suite="cold",
        title=cell.title,
        baseline=BASELINE,
        figures=FIGURES,
        compared=COMPARED,
        runs=runs,
        notes=notes,
        facts=attrs.asdict(cell) | {"requests": count},
    )
