"""Measures uploads side by side: `nox -s bench`, or `nox -s bench -- --full`.

Contenders take turns, each run in a process of its own, against one server. What counts are ratios
to the baseline within a run; the raw figures are kept as JSON beside the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BASELINE = "aiohttp-file"
CONTENDERS = [BASELINE, "aiohttp-bytes", "chainhub-async"]
SIZES = {"100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
FIGURES = ["requests_per_second", "cpu_ms", "late_p99_ms", "rss_growth_mb"]


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


def pinned(core: int) -> list[str]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "-c", str(cores[core % len(cores)])] if len(cores) > 1 else []


@contextmanager
def sink() -> Generator[str, None, None]:
    command = [*pinned(0), sys.executable, str(HERE / "sink.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def once(contender: str, url: str, file: Path, requests: int, concurrency: int) -> dict[str, float]:
    done = subprocess.run(
        [
            *pinned(1),
            *(sys.executable, str(HERE / "contender.py"), contender),
            *(url, str(file), str(requests), str(concurrency)),
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    report: dict[str, float] = json.loads(done.stdout)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes, more runs")
    full = parser.parse_args().full
    sizes = SIZES if full else {"100 KB": SIZES["100 KB"], "1 MB": SIZES["1 MB"]}
    levels = [1, 32, 256] if full else [1, 32]
    rounds = 7 if full else 3
    RESULTS.mkdir(exist_ok=True)
    raw: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder, sink() as url:
        for (label, size), level in itertools.product(sizes.items(), levels):
            file = Path(folder) / f"{size}.png"
            file.write_bytes(png(size))
            requests = max(level * 2, min(1000, 200_000_000 // size))
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
            for _ in range(rounds):
                for name in CONTENDERS:
                    runs[name].append(once(name, url, file, requests, level))
            raw.append({"size": size, "in_flight": level, "requests": requests, "runs": runs})
            show(label, level, runs)
    (RESULTS / "uploads.json").write_text(json.dumps(raw, indent=1), encoding="utf-8")
    print(f"\nRaw figures: {RESULTS / 'uploads.json'}")


def show(label: str, level: int, runs: dict[str, list[dict[str, float]]]) -> None:
    print(f"\n{label}, {level} in flight (median, and the ratio to {BASELINE})")
    print(f"{'':16}" + "".join(f"{figure:>28}" for figure in FIGURES))
    for name, reports in runs.items():
        cells = ""
        for figure in FIGURES:
            median = statistics.median(report[figure] for report in reports)
            base = statistics.median(report[figure] for report in runs[BASELINE])
            ratio = f"{median / base:.2f}" if base else "-"
            cells += f"{median:>20.2f} ({ratio:>5})"
        print(f"{name:16}{cells}")


if __name__ == "__main__":
    main()
