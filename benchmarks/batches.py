"""What a batch and its ledger cost.

The same calls are made with code of one's own, in a batch without a ledger, and in one with a
ledger; then the finished batch is resumed. The images come from a generator.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import attrs
from contender import idle_mb, memory_mb
from harness import Report, Result, Settings, process, take_turns
from pictures import png
from server import sink

from chainhub_async import AsyncChainHub, Limits, ReplaceBackground

IN_FLIGHT = 32
OWN_CODE, BASELINE, LEDGER, RESUMED = "own code", "no ledger", "ledger", "resumed"
CONTENDERS = [OWN_CODE, BASELINE, LEDGER, RESUMED]
FIGURES = ["items_per_second", "cpu_ms", "rss_growth_mb"]


@attrs.frozen
class Cell:
    """A batch of so many images of 1 KB."""

    count: int
    delay_ms: int = 0

    @property
    def title(self) -> str:
        after = f", answered after {self.delay_ms} ms" if self.delay_ms else ""
        return f"Batch of {self.count:,} images of 1 KB, {IN_FLIGHT} in flight{after}"


CELLS = [Cell(1_000, 200), Cell(10_000)]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite."""
    for cell in [*CELLS, Cell(100_000)] if settings.full else CELLS:
        if settings.only in cell.title:
            yield _measured(cell, settings)


def _measured(cell: Cell, settings: Settings) -> Result:
    rounds = settings.rounds_or(3, 5) if cell.count <= 10_000 else 1
    ledgers: list[Path] = []
    with sink(delay_ms=cell.delay_ms) as to:

        def turn(name: str) -> Report:
            if name == LEDGER:
                ledgers.append(settings.folder / f"{cell.count}-{len(ledgers)}.db")
            ledger = str(ledgers[-1]) if name in {LEDGER, RESUMED} else None
            return process(
                Path(__file__),
                {"name": name, "url": to.url, "count": cell.count, "ledger": ledger},
            )

        runs, notes = take_turns(CONTENDERS, rounds, turn, essential=CONTENDERS)
    # In memory, where nothing has to be flushed, a ledger costs less.
    notes.append("The ledger is on the disk of the benchmark's directory.")
    return Result(
        suite="batches",
        title=cell.title,
        baseline=BASELINE,
        figures=FIGURES,
        compared=["items_per_second", "cpu_ms"],
        runs=runs,
        notes=notes,
        facts=attrs.asdict(cell),
    )


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


async def batch(hub: AsyncChainHub, count: int, ledger: str | None, expected: str) -> None:
    requests = (ReplaceBackground(image, prompt="a forest") for image in images(count))
    async with hub.batch(ledger=ledger) as opened:
        done = 0
        async for outcome in opened.run(requests):
            done += outcome.state == expected
    if done != count:
        sys.exit(f"{done} of {count} are {expected}")


async def contend(name: str, url: str, count: int, ledger: str | None) -> Report:
    """Runs one contender."""
    async with AsyncChainHub("key", base_url=url, limits=Limits(in_flight=IN_FLIGHT)) as hub:
        await hub.ideogram.replace_background(png(2000), prompt="warm")
        idle = idle_mb()
        began, cpu = time.perf_counter(), time.process_time()
        if name == OWN_CODE:
            await own_code(hub, count)
        else:
            await batch(hub, count, ledger, "SKIPPED" if name == RESUMED else "ACCEPTED")
        took, used = time.perf_counter() - began, time.process_time() - cpu
    return {
        "items_per_second": count / took,
        "cpu_ms": 1000 * used / count,
        "rss_growth_mb": memory_mb("VmHWM") - idle,
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    words = [given[key] for key in ("name", "url", "count", "ledger")]
    print(json.dumps(anyio.run(contend, *words)))
