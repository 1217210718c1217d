"""Measures uploads side by side: `nox -s bench`, or `nox -s bench -- --full`.

Contenders take turns, each run in a process of its own, against one server. What counts are ratios
to the baseline within a run; the raw figures are kept as JSON beside the table and the plots.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
import server
from server import pinned

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BASELINE, OWN = "aiohttp-file", "chainhub-async"
# What each needs besides this package, and what it cannot do.
NEEDS = {
    BASELINE: None,
    OWN: None,
    "aiohttp-bytes": None,
    "aiohttp-aiofiles": None,
    "httpx": "httpx",
    "openai": "openai",
    "pycurl-multi": "pycurl",
    "raw-sendfile": None,
}
NO_TLS = {"raw-sendfile"}
# Minutes instead of seconds with a thousand in flight.
NOT_A_THOUSAND = {"httpx", "openai", "raw-sendfile"}
KB, MB = 1_000, 1_000_000
FIGURES = {
    "requests_per_second": "requests/s",
    "cpu_ms": "CPU ms/request",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "late_p99_ms": "loop late p99 ms",
    "rss_growth_mb": "RSS growth MB",
}


@attrs.frozen
class Cell:
    """One kind of work.

    Attributes:
        size: of the file, in bytes.
        in_flight: uploads at a time.
        server: `plain`, `tls`, `delayed` (answers after 200 ms) or `slow` (reads slowly).
    """

    size: int
    in_flight: int
    server: str = "plain"

    @property
    def title(self) -> str:
        size = f"{self.size // MB} MB" if self.size >= MB else f"{self.size // KB} KB"
        return f"{size} x {self.in_flight}, {self.server}"

    def requests(self, budget: int) -> int:
        least = 30 if self.in_flight == 1 else 2 * self.in_flight
        return max(least, min(2000, budget // self.size))

    def contenders(self) -> list[str]:
        found = [name for name, needed in NEEDS.items() if needed is None or find_spec(needed)]
        if self.server == "tls":
            found = [name for name in found if name not in NO_TLS]
        if self.in_flight >= 1000:
            found = [name for name in found if name not in NOT_A_THOUSAND]
        return found


QUICK = [
    *(Cell(size, level) for size in (100 * KB, MB) for level in (1, 32)),
    Cell(MB, 32, "tls"),
    Cell(MB, 1000, "delayed"),
]
FULL = [
    *(Cell(size, level) for size in (100 * KB, MB, 10 * MB) for level in (1, 32, 256)),
    *(Cell(size, level, "tls") for size in (100 * KB, MB) for level in (1, 32, 1000)),
    *(Cell(size, 1000, "delayed") for size in (100 * KB, MB)),
    Cell(MB, 1000, "slow"),
]


def png(size: int, seed: int | None = None) -> bytes:
    """Returns a PNG of exactly `size` bytes; the same for the same seed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    tail = chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return (
        head
        + chunk(b"prIv", random.Random(seed).randbytes(size - len(head) - len(tail) - 12))
        + tail
    )


@contextmanager
def sink() -> Generator[str, None, None]:
    """Runs the plain server, and yields its URL."""
    with server.sink() as url:
        yield url


def once(
    contender: str, url: str, file: Path, requests: int, concurrency: int, *ca: str
) -> dict[str, float]:
    """Runs one contender once, in a process of its own."""
    done = subprocess.run(
        [
            *pinned(1),
            *(sys.executable, str(HERE / "contender.py"), contender),
            *(url, str(file), str(requests), str(concurrency), *ca),
        ],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    if done.returncode:
        raise SystemExit(f"{contender} failed; see above.")
    report: dict[str, float] = json.loads(done.stdout)
    return report


def verify(contenders: Iterable[str], folder: Path) -> None:
    """Makes sure that every contender sends the right image, prompt and key."""
    image = png(300 * KB)
    file = folder / "verified.png"
    file.write_bytes(image)
    for name in contenders:
        with server.reader(image) as (url, counted):
            once(name, url, file, 3, 1)
            if counted.seen < 4:  # one to warm up
                raise SystemExit(f"{name} does not send what it should.")


def measure(cell: Cell, rounds: int, budget: int, folder: Path) -> dict[str, Any]:
    """Lets the contenders of a cell take turns."""
    file = folder / f"{cell.size}.png"
    file.write_bytes(png(cell.size))
    requests = cell.requests(budget)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in cell.contenders()}
    with ExitStack() as stack:
        ca: list[str] = []
        if cell.server == "tls":
            trusted, *own = server.certificate(folder)
            ca = [trusted]
            url = stack.enter_context(server.sink(tls=(own[0], own[1])))
        else:
            delay = 200 if cell.server == "delayed" else 0
            url = stack.enter_context(server.sink(delay_ms=delay, slow=cell.server == "slow"))
        for _ in range(rounds):
            for name, reports in runs.items():
                report = once(name, url, file, requests, cell.in_flight, *ca)
                report["mb_per_second"] = report["requests_per_second"] * cell.size / MB
                reports.append(report)
    return {"cell": attrs.asdict(cell), "title": cell.title, "requests": requests, "runs": runs}


def ratios(runs: dict[str, list[dict[str, float]]], name: str, figure: str) -> list[float]:
    """Returns the ratios to the baseline, turn by turn."""
    pairs = zip(runs[name], runs[BASELINE], strict=True)
    return [own[figure] / base[figure] for own, base in pairs if base[figure]]


def table(measured: dict[str, Any]) -> str:
    """Returns a cell's figures as a table: medians, and the median ratio to the baseline."""
    runs = measured["runs"]
    lines = [f"\n### {measured['title']} (ratios to {BASELINE}, lowest to highest)\n"]
    lines.append("| | " + " | ".join(FIGURES.values()) + " | rate, of the baseline's |")
    lines.append("| --- |" + " ---: |" * (len(FIGURES) + 1))
    for name, reports in runs.items():
        row = f"| {name} |"
        for figure in FIGURES:
            row += f" {statistics.median(report[figure] for report in reports):.2f} |"
        seen = ratios(runs, name, "requests_per_second")
        row += f" **{statistics.median(seen):.2f}** ({min(seen):.2f} to {max(seen):.2f}) |"
        lines.append(row)
    return "\n".join(lines)


def plot(results: list[dict[str, Any]], to: Path) -> None:
    """Draws the rates, of the baseline's, of all contenders in all cells."""
    import matplotlib as mpl  # pyright: ignore[reportMissingImports]  # of the bench session

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # pyright: ignore[reportMissingImports]  # see above

    names = [name for name in NEEDS if any(name in one["runs"] for one in results)]
    figure, axes = plt.subplots(figsize=(11, 1.2 + 0.9 * len(results)))
    thick = 0.85 / len(names)
    for place, name in enumerate(names):
        rows = [
            (number + place * thick, statistics.median(ratios(one["runs"], name, FASTER)))
            for number, one in enumerate(results)
            if name in one["runs"]
        ]
        colour = "#d6336c" if name == OWN else f"{0.35 + 0.07 * place:.2f}"
        axes.barh(
            [at for at, _ in rows], [rate for _, rate in rows], thick, label=name, color=colour
        )
    axes.set_yticks([number + 0.4 for number in range(len(results))])
    axes.set_yticklabels([one["title"] for one in results])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel(f"requests per second, of {BASELINE}'s")
    axes.legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(to, dpi=120)


FASTER = "requests_per_second"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes, servers and levels")
    parser.add_argument("--rounds", type=int, help="how often each contender has its turn")
    parser.add_argument("--only", default="", help="only cells with this in their title")
    given = parser.parse_args()
    cells = [cell for cell in (FULL if given.full else QUICK) if given.only in cell.title]
    rounds = given.rounds or (7 if given.full else 3)
    RESULTS.mkdir(exist_ok=True)
    server.built()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        verify({name for cell in cells for name in cell.contenders()}, folder)
        for cell in cells:
            results.append(measure(cell, rounds, (400 if given.full else 150) * MB, folder))
            print(table(results[-1]), flush=True)
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    raw = {"machine": machine, "rounds": rounds, "cells": results}
    (RESULTS / "uploads.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    text = f"{machine}; {rounds} rounds\n" + "\n".join(map(table, results)) + "\n"
    (RESULTS / "uploads.md").write_text(text, encoding="utf-8")
    if find_spec("matplotlib"):
        plot(results, RESULTS / "uploads.png")
    print(f"\nRaw figures, table and plot: {RESULTS}")


if __name__ == "__main__":
    main()
