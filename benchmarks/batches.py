"""Measures what a batch's ledger costs, side by side: `nox -s bench_batch`, or with `-- --full`.

The same calls are made with `gather`-like code of one's own, in a batch without a ledger, and in
one with a ledger; then the finished batch is resumed. Contenders take turns, each run in a process
of its own, and their images come from a generator. `--full` makes 100 000 calls.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
from run import RESULTS, png, sink
from server import pinned

from chainhub_async import AsyncChainHub, Limits, ReplaceBackground

IN_FLIGHT = 32
BASELINE = "no ledger"
CONTENDERS = ["own code", BASELINE, "ledger", "resumed"]
FIGURES = ["ms_per_item", "cpu_ms", "peak_rss_mb"]


def images(count: int) -> Iterator[bytes]:
    """Different photographs of 1 KB, which follow from their number."""
    base = png(980, seed=1)
    for number in range(count):
        yield base[:-12] + b"\0\0\0\x08prIv%08d\0\0\0\0" % number + base[-12:]


async def own_code(hub: AsyncChainHub, count: int) -> None:
    room = anyio.Semaphore(2 * IN_FLIGHT)

    async def one(image: bytes) -> None:
        try:
            await hub.ideogram.replace_background(image, prompt="a forest")
        finally:
            room.release()

    async with anyio.create_task_group() as group:
        for image in images(count):
            await room.acquire()
            group.start_soon(one, image)


async def batch(hub: AsyncChainHub, count: int, ledger: Path | None, expected: str) -> None:
    requests = (ReplaceBackground(image, prompt="a forest") for image in images(count))
    async with hub.batch(ledger=ledger) as opened:
        done = 0
        async for outcome in opened.run(requests):
            done += outcome.state == expected
    if done != count:
        sys.exit(f"{done} of {count} are {expected}")


async def contend(name: str, url: str, count: int, ledger: Path) -> None:
    """Runs one contender and prints its figures."""
    async with AsyncChainHub("key", base_url=url, limits=Limits(in_flight=IN_FLIGHT)) as hub:
        await hub.ideogram.replace_background(png(2000), prompt="warm")
        began, cpu = time.perf_counter(), time.process_time()
        if name == "own code":
            await own_code(hub, count)
        else:
            expected = "SKIPPED" if name == "resumed" else "ACCEPTED"
            await batch(hub, count, None if name == BASELINE else ledger, expected)
        took, used = time.perf_counter() - began, time.process_time() - cpu
    status = Path("/proc/self/status")
    if status.exists():
        peak = int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) / 1024
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = [1000 * took / count, 1000 * used / count, peak]
    print(json.dumps(dict(zip(FIGURES, figures, strict=True))))


def once(name: str, url: str, count: int, ledger: Path) -> dict[str, float]:
    done = subprocess.run(
        [*pinned(1), sys.executable, __file__, "--contend", name, url, str(count), str(ledger)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    report: dict[str, float] = json.loads(done.stdout)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="100 000 calls each")
    parser.add_argument("--contend", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contend:
        name, url, count, ledger = given.contend
        anyio.run(contend, name, url, int(count), Path(ledger))
        return
    count, rounds = (100_000, 3) if given.full else (10_000, 3)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    # Where nothing has to be flushed, as in memory, a ledger costs less than on a disk.
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder, sink() as url:
        for number in range(rounds):
            for name in CONTENDERS:
                ledger = Path(folder) / f"{number}.db"
                runs[name].append(once(name, url, count, ledger))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "batch.json").write_text(json.dumps(runs, indent=1), encoding="utf-8")
    print(f"{count:,} calls of 1 KB, {IN_FLIGHT} in flight; median of {rounds} (min-max)")
    print(f"{'':12}{'calls/s over no ledger':>24}" + "".join(f"{each:>26}" for each in FIGURES))
    base = statistics.median(each["ms_per_item"] for each in runs[BASELINE])
    for name, reports in runs.items():
        speed = base / statistics.median(each["ms_per_item"] for each in reports)
        cells = f"{speed:>24.2f}"
        for figure in FIGURES:
            values = [each[figure] for each in reports]
            shown = f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
            cells += f"{shown:>26}"
        print(f"{name:12}{cells}")
    print(f"\nRaw figures: {RESULTS / 'batch.json'}")


if __name__ == "__main__":
    main()
