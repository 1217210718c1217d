"""Results saved to the disk, with and without the care that something paid for deserves."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs
import server
from harness import FailedError, Report, Result, Settings, take_turns
from pictures import KB, MB, png, sized
from uploads import once

BASELINE, OWN, SAFE = "aiohttp-aiofiles", "chainhub-async", "aiohttp-safe"
NEEDS = {BASELINE: None, OWN: None, SAFE: None, "aiohttp-read": None, "httpx-stream": "httpx"}
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
    "server_busy_percent",
]
COMPARED = ["requests_per_second", "cpu_ms", "late_p99_ms"]
MORE = (
    f"{OWN} and {SAFE} also check that the image is whole, flush file and directory to disk, give "
    "the file its name only then, and replace no other; the rest leave the data to the kernel."
)


@attrs.frozen
class Cell:
    """So many downloads at a time, of one size."""

    size: int
    in_flight: int

    @property
    def title(self) -> str:
        return f"{sized(self.size)} x {self.in_flight}, saved"


CELLS = [Cell(size, level) for size in (10 * KB, MB, 10 * MB) for level in (1, 32)]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite."""
    cells = [cell for cell in CELLS if settings.only in cell.title]
    if not settings.full:
        cells = [cell for cell in cells if cell.size <= MB]
    for cell in cells:
        yield _measured(cell, settings)


def _measured(cell: Cell, settings: Settings) -> Result:
    image = settings.folder / "result.png"
    image.write_bytes(png(cell.size))
    least = 30 if cell.in_flight == 1 else 2 * cell.in_flight
    count = max(least, min(500, settings.budget // cell.size))
    contenders = [name for name, needed in NEEDS.items() if needed is None or find_spec(needed)]
    with server.source(image) as to:

        def turn(name: str) -> Report:
            folder = settings.folder / "saved"
            folder.mkdir()
            try:
                report = once(
                    name, to, folder, least=count, parallel=cell.in_flight, job="download"
                )
                _check(folder, count, image.read_bytes())
            finally:
                shutil.rmtree(folder)
                os.sync()  # what this one left to the kernel must not slow the next one down
            report["mb_per_second"] = report["requests_per_second"] * cell.size / MB
            return report

        rounds = settings.rounds_or(3, 5)
        runs, notes = take_turns(contenders, rounds, turn, essential=[BASELINE, OWN, SAFE])
    result = Result(
        suite="downloads",
        title=cell.title,
        baseline=BASELINE,
        figures=FIGURES,
        compared=COMPARED,
        runs=runs,
        notes=[*notes, MORE],
        facts=attrs.asdict(cell) | {"requests": count},
    )
    fair = sorted(result.ratios(OWN, "requests_per_second", to=SAFE))
    result.notes.append(
        f"Rate of {OWN} over {SAFE}, which does the same: **{statistics.median(fair):.2f}** "
        f"({fair[0]:.2f} to {fair[-1]:.2f})."
    )
    return result


def _check(folder: Path, count: int, image: bytes) -> None:
    """Makes sure that every file is there and right, and nothing else."""
    for number in range(count):
        path = folder / f"{number}.png"
        if not path.exists() or path.read_bytes() != image:
            raise FailedError(f"{path.name} was not saved as it should be")
    if list(folder.glob(".*")):
        raise FailedError("it left temporary files behind")
