"""This package beside other versions of itself, each a directory that holds `chainhub_async`.

For what a change buys: a worktree without it (`git worktree add`, `git revert`) is one more
contender. Only run if such directories are named, with `--against`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import uploads
from harness import Report, Result, Settings, take_turns
from pictures import KB, MB, png, sized

THIS = Path(__file__).parents[1]
FIGURES = ["requests_per_second", "cpu_ms", "p99_ms", "late_p99_ms", "rss_growth_mb"]


@attrs.frozen
class Cell:
    """One kind of upload by this package, from a file or from memory."""

    size: int
    in_flight: int
    server: str = "plain"
    contender: str = uploads.OWN

    @property
    def title(self) -> str:
        source = "file" if self.contender == uploads.OWN else "memory"
        return f"{sized(self.size)} x {self.in_flight}, {self.server}, from {source}, by version"


CELLS = [
    Cell(KB, 1, contender=uploads.OWN_BYTES),
    Cell(MB, 32, contender=uploads.OWN_BYTES),
    Cell(100 * KB, 1),
    Cell(100 * KB, 32),
    Cell(MB, 32),
    Cell(MB, 32, "tls"),
    Cell(MB, 1000, "delayed"),
]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite."""
    versions = settings.versions
    for path in versions:
        if not (path / "chainhub_async" / "__init__.py").is_file():
            raise SystemExit(f"--against {path}: there is no chainhub_async in it.")
        uploads.verify({cell.contender for cell in CELLS}, settings.folder, path)
    if len({path.name for path in (THIS, *versions)}) <= len(versions):
        raise SystemExit("--against: two directories have the same name; rename one.")
    for cell in CELLS if versions else []:
        if settings.only in cell.title:
            yield _measured(cell, settings)


def _measured(cell: Cell, settings: Settings) -> Result:
    file = settings.folder / f"{cell.size}.png"
    file.write_bytes(png(cell.size))
    versions = {path.name: path for path in (THIS, *settings.versions)}
    with uploads.sink_of(cell.server, settings.folder) as (to, ca):

        def turn(name: str) -> Report:
            return uploads.once(
                cell.contender,
                to,
                file,
                least=max(30, cell.in_flight),
                seconds=settings.seconds,
                parallel=cell.in_flight,
                ca=ca,
                package=versions[name],
            )

        runs, notes = take_turns(versions, settings.rounds_or(5, 7), turn, essential=versions)
    return Result(
        suite="versions",
        title=cell.title,
        baseline=THIS.name,
        figures=FIGURES,
        compared=["requests_per_second", "cpu_ms"],
        runs=runs,
        notes=notes,
        facts=attrs.asdict(cell) | {"versions": {name: str(at) for name, at in versions.items()}},
    )
