"""What blocking costs: calls awaited, and made by threads that share one `ChainHub`.

One at a time, for what a call costs more, and 64 at once, for what they get through. The server
answers at once, or after 20, 50 or 200 ms; a real one, which takes seconds, hides it all. With up
to 20 ms the processor is the limit. Threads that the system may move from core to core cost more
than those which stay on one.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import attrs
from harness import Report, Result, Settings, process, take_turns
from pictures import KB, png, sized
from server import sink

from chainhub_async import AsyncChainHub, ChainHub, Limits
from chainhub_async.portal import Portal

AWAITED, BLOCKING = "awaited", "blocking"
FIGURES = ["requests_per_second", "ms_per_call", "cpu_ms"]


@attrs.frozen
class Cell:
    """So many calls at a time, with an image of one size in memory."""

    size: int
    level: int
    delay_ms: int = 0
    pinned: bool = True

    @property
    def title(self) -> str:
        after = f", answered after {self.delay_ms} ms" if self.delay_ms else ""
        where = "" if self.pinned else ", on any core"
        return f"{sized(self.size)}, {self.level} at once{after}{where}, awaited and blocking"


CELLS = [
    *(Cell(size, level) for size in (KB, 100 * KB) for level in (1, 64)),
    *(Cell(100 * KB, 64, delay) for delay in (20, 50, 200)),
    *(Cell(100 * KB, 64, delay, pinned=False) for delay in (0, 20, 50, 200)),
]


def run(settings: Settings) -> Iterator[Result]:
    """Measures the cells of this suite."""
    for cell in CELLS:
        if settings.only in cell.title:
            yield _measured(cell, settings)


def _measured(cell: Cell, settings: Settings) -> Result:
    most = 12_800 if settings.full else 3_200
    count = max(64, min(most, settings.budget // cell.size)) // 64 * 64
    with sink(delay_ms=cell.delay_ms) as to:

        def turn(name: str) -> Report:
            given = {"name": name, "url": to.url, "size": cell.size, "level": cell.level}
            return process(Path(__file__), given | {"count": count}, pin=cell.pinned)

        both = [AWAITED, BLOCKING]
        runs, notes = take_turns(both, settings.rounds_or(5, 7), turn, essential=both)
    # Neighbours in time meet the same machine: the difference of each pair, not of the medians.
    pairs = zip(runs[BLOCKING], runs[AWAITED], strict=True)
    more = sorted(one["ms_per_call"] - other["ms_per_call"] for one, other in pairs)
    started = statistics.median(report["portal_start_ms"] for report in runs[BLOCKING])
    notes.append(
        f"Blocking takes {statistics.median(more):.3f} ms more for each call "
        f"({more[0]:.3f} to {more[-1]:.3f}); its loop is up within {started:.1f} ms."
    )
    return Result(
        suite="blocking",
        title=cell.title,
        baseline=AWAITED,
        figures=FIGURES,
        compared=["requests_per_second", "cpu_ms"],
        runs=runs,
        notes=notes,
        facts=attrs.asdict(cell) | {"requests": count},
    )


async def awaited(url: str, image: bytes, count: int, level: int) -> tuple[float, float]:
    """Makes calls from so many tasks; returns the seconds they took, and those computed."""
    async with AsyncChainHub("key", base_url=url, limits=Limits(in_flight=level)) as hub:

        async def work(calls: int) -> None:
            for _ in range(calls):
                await hub.ideogram.replace_background(image, prompt="a forest")

        async def all_of_them(calls: int) -> tuple[float, float]:
            began, cpu = time.perf_counter(), time.process_time()
            async with anyio.create_task_group() as group:
                for _ in range(level):
                    group.start_soon(work, calls)
            return time.perf_counter() - began, time.process_time() - cpu

        await all_of_them(5)
        return await all_of_them(count // level)


def blocking(url: str, image: bytes, count: int, level: int) -> tuple[float, float]:
    """Makes calls from so many threads; returns the seconds they took, and those computed."""
    with ChainHub("key", base_url=url, limits=Limits(in_flight=level)) as hub:

        def work(calls: int) -> None:
            for _ in range(calls):
                hub.ideogram.replace_background(image, prompt="a forest")

        def all_of_them(calls: int) -> tuple[float, float]:
            threads = [threading.Thread(target=work, args=[calls]) for _ in range(level)]
            began, cpu = time.perf_counter(), time.process_time()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.perf_counter() - began, time.process_time() - cpu

        all_of_them(5)
        return all_of_them(count // level)


def portal_start() -> float:
    """Returns the seconds until the first coroutine of a program's first portal has run."""

    async def nothing() -> None: ...

    portal = Portal(nothing)
    began = time.perf_counter()
    portal.run(nothing)
    took = time.perf_counter() - began
    portal.close()
    return took


def contend(*, name: str, url: str, size: int, count: int, level: int) -> Report:
    """Runs one contender."""
    image = png(size)
    started = 0.0
    if name == AWAITED:
        took, cpu = anyio.run(awaited, url, image, count, level)
    else:
        started = portal_start()
        took, cpu = blocking(url, image, count, level)
    return {
        "requests_per_second": count / took,
        "ms_per_call": 1000 * took / count,
        "cpu_ms": 1000 * cpu / count,
        "portal_start_ms": 1000 * started,
    }


if __name__ == "__main__":
    print(json.dumps(contend(**json.loads(sys.argv[1]))))
