"""Uploads of one file from warm page cache: sizes, levels, TLS, slow servers, 1000 at once."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import server
from harness import FailedError, Report, Result, Settings, process, take_turns
from pictures import KB, MB, png, sized

SCRIPT = Path(__file__).parent / "contender.py"
BASELINE, OWN = "aiohttp-file", "chainhub-async"
OWN_BYTES, LEAST = "chainhub-bytes", "aiohttp-prebuilt"
# What each needs besides this package.
NEEDS = {
    BASELINE: None,
    OWN: None,
    "aiohttp-bytes": None,
    "aiohttp-aiofiles": None,
    "httpx": "httpx",
    "openai": "openai",
    "requests-threads": "requests",
    "pyreqwest": "pyreqwest",
    "pycurl-multi": "pycurl",
    "raw-sendfile": None,
    "blocking-sendfile": None,
}
NO_TLS = {"raw-sendfile", "blocking-sendfile"}
# Minutes instead of seconds with a thousand in flight, or a thousand threads.
NOT_A_THOUSAND = {"httpx", "openai", "requests-threads", "blocking-sendfile"}
FIGURES = [
    "requests_per_second",
    "mb_per_second",
    "cpu_ms",
    "p50_ms",
    "p99_ms",
    "late_p99_ms",
    "late_worst_ms",
    "rss_growth_mb",
    "sockets",
    "server_busy_percent",
]
COMPARED = ["requests_per_second", "cpu_ms", "late_p99_ms"]


@attrs.frozen
class Cell:
    """One kind of work.

    Attributes:
        size: of the file, in bytes.
        in_flight: uploads at a time.
        server: `plain`, `tls`, `slow` (reads slowly), or `delayed` or `tls delayed`: one that
            answers after 200 ms, so that as many connections are open as calls are under way.
    """

    size: int
    in_flight: int
    server: str = "plain"

    @property
    def title(self) -> str:
        return f"{sized(self.size)} x {self.in_flight}, {self.server}"

    def contenders(self) -> list[str]:
        if self.size < 10 * KB:
            # Where the file weighs nothing, what counts is what a call and a session cost.
            return [BASELINE, OWN, OWN_BYTES, LEAST]
        found = [name for name, needed in NEEDS.items() if needed is None or find_spec(needed)]
        if self.server.startswith("tls"):
            found = [name for name in found if name not in NO_TLS]
        if self.in_flight >= 1000:
            found = [name for name in found if name not in NOT_A_THOUSAND]
        return found


QUICK = [
    Cell(KB, 1),
    *(Cell(size, level) for size in (100 * KB, MB) for level in (1, 32)),
    Cell(MB, 32, "tls"),
    Cell(MB, 1000, "delayed"),
]
FULL = [
    Cell(KB, 1),
    *(Cell(size, level) for size in (100 * KB, MB, 10 * MB) for level in (1, 32, 256)),
    *(Cell(size, level, "tls") for size in (100 * KB, MB) for level in (1, 32)),
    *(Cell(size, 1000, "delayed") for size in (100 * KB, MB)),
    *(Cell(size, 1000, "tls delayed") for size in (KB, 100 * KB, MB)),
    Cell(MB, 1000, "slow"),
]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite."""
    cells = [cell for cell in (FULL if settings.full else QUICK) if settings.only in cell.title]
    verify({name for cell in cells for name in cell.contenders()}, settings.folder)
    for cell in cells:
        yield _measured(cell, settings)


def once(
    name: str,
    to: server.Running,
    path: Path,
    *,
    least: int,
    parallel: int,
    seconds: float = 0.0,
    ca: str | None = None,
    job: str = "upload",
    cold: bool = False,
    package: Path | None = None,
) -> Report:
    """Lets one contender have its turn, with this package from another directory if given."""
    given: dict[str, Any] = {
        "job": job,
        "name": name,
        "url": to.url,
        "server": to.process,
        "path": str(path),
    }
    given |= {"least": least, "seconds": seconds, "parallel": parallel, "ca": ca, "cold": cold}
    return process(SCRIPT, given, package)


def verify(contenders: Iterable[str], folder: Path, package: Path | None = None) -> None:
    """Makes sure that every contender sends the right image, prompt and key, all at once too."""
    image = png(300 * KB)
    file = folder / "verified.png"
    file.write_bytes(image)
    for name in sorted(contenders):
        with server.reader(image) as (url, counted):
            try:
                to = server.Running(url, 0)
                once(name, to, file, least=12, parallel=4, package=package)
            except FailedError as failed:
                raise SystemExit(f"{name} failed: {failed}.") from None
            if counted.seen != 1 + 4 + 12 or counted.wrong:  # the first two to warm up
                raise SystemExit(f"{name} does not send what it should.")


@contextmanager
def sink_of(kind: str, folder: Path) -> Generator[tuple[server.Running, str | None], None, None]:
    """Runs a server of a kind, see `Cell`; yields it and the authority of its certificate."""
    authority, pair = None, None
    if kind.startswith("tls"):
        authority, certificate, key = server.certificate(folder)
        pair = certificate, key
    delay = 200 if kind.endswith("delayed") else 0
    with server.sink(tls=pair, delay_ms=delay, slow=kind == "slow") as running:
        yield running, authority


def _measured(cell: Cell, settings: Settings) -> Result:
    file = settings.folder / f"{cell.size}.png"
    file.write_bytes(png(cell.size))
    with sink_of(cell.server, settings.folder) as (to, ca):

        def turn(name: str) -> Report:
            report = once(
                name,
                to,
                file,
                least=max(30, cell.in_flight),
                seconds=settings.seconds,
                parallel=cell.in_flight,
                ca=ca,
            )
            report["mb_per_second"] = report["requests_per_second"] * cell.size / MB
            return report

        runs, notes = take_turns(
            cell.contenders(),
            settings.rounds_or(3, 5),
            turn,
            essential=[BASELINE, OWN, OWN_BYTES, LEAST],
        )
    return Result(
        suite="uploads",
        title=cell.title,
        baseline=BASELINE,
        figures=FIGURES,
        compared=COMPARED,
        runs=runs,
        notes=notes + _overhead(runs),
        facts=attrs.asdict(cell) | {"seconds": settings.seconds},
    )


def _overhead(runs: dict[str, list[Report]]) -> list[str]:
    """Says what a call costs beside aiohttp itself, where that was measured."""
    if LEAST not in runs:
        return []
    notes = [f"{LEAST} sends a finished body: what it takes is aiohttp's and the loop's own."]
    for name, what in ((OWN_BYTES, "an image in memory"), (OWN, "a file")):
        pairs = zip(runs[name], runs[LEAST], strict=True)
        more = [own["cpu_ms"] - least["cpu_ms"] for own, least in pairs]
        notes.append(
            f"CPU of a call with {what}, over aiohttp with a finished body: "
            f"{statistics.median(more):.3f} ms ({min(more):.3f} to {max(more):.3f})."
        )
    return notes
