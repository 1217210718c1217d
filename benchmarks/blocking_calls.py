"""Measures what blocking costs, side by side: `nox -s bench_blocking`, or with `-- --full`.

The same calls are awaited and made by threads that share one `ChainHub`: one at a time, for what a
call costs more, and 64 at once, for what they get through. Contenders take turns, each run in a
process of its own. The server answers at once; a real one, which takes seconds, hides it all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time

import anyio
from run import RESULTS, png
from server import pinned, sink

from chainhub_async import AsyncChainHub, ChainHub, Limits
from chainhub_async.portal import Portal

CONTENDERS = ["awaited", "blocking"]
LEVELS = [1, 64]
SIZES = {"1 KB": 1_000, "100 KB": 100_000}


async def awaited(url: str, image: bytes, count: int, level: int) -> float:
    """Makes calls from so many tasks; returns the seconds they took."""
    async with AsyncChainHub("key", base_url=url, limits=Limits(in_flight=level)) as hub:

        async def work(calls: int) -> None:
            for _ in range(calls):
                await hub.ideogram.replace_background(image, prompt="a forest")

        async def all_of_them(calls: int) -> float:
            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(level):
                    group.start_soon(work, calls)
            return time.perf_counter() - began

        await all_of_them(5)
        return await all_of_them(count // level)


def blocking(url: str, image: bytes, count: int, level: int) -> float:
    """Makes calls from so many threads; returns the seconds they took."""
    with ChainHub("key", base_url=url, limits=Limits(in_flight=level)) as hub:

        def work(calls: int) -> None:
            for _ in range(calls):
                hub.ideogram.replace_background(image, prompt="a forest")

        def all_of_them(calls: int) -> float:
            threads = [threading.Thread(target=work, args=[calls]) for _ in range(level)]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.perf_counter() - began

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


def contend(name: str, url: str, size: int, count: int, level: int) -> None:
    """Runs one contender and prints its figures."""
    image = png(size)
    started = portal_start() if name == "blocking" else 0.0
    cpu = time.process_time()
    if name == "awaited":
        took = anyio.run(awaited, url, image, count, level)
    else:
        took = blocking(url, image, count, level)
    used = time.process_time() - cpu
    print(json.dumps([1000 * took / count, 1000 * used / count, 1000 * started]))


def once(name: str, url: str, size: int, count: int, level: int) -> list[float]:
    numbers = [str(each) for each in (size, count, level)]
    done = subprocess.run(
        [*pinned(1), sys.executable, __file__, "--contend", name, url, *numbers],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    report: list[float] = json.loads(done.stdout)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="more and longer rounds")
    parser.add_argument("--contend", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contend:
        name, url, *numbers = given.contend
        contend(name, url, *map(int, numbers))
        return
    count, rounds = (12_800, 9) if given.full else (3_200, 5)
    results: dict[str, dict[str, list[list[float]]]] = {}
    with sink() as url:
        for label, size in SIZES.items():
            for level in LEVELS:
                cell = results.setdefault(
                    f"{label}, {level} at once", {name: [] for name in CONTENDERS}
                )
                for _ in range(rounds):
                    for name in CONTENDERS:
                        cell[name].append(once(name, url, size, count, level))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "blocking.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    show(results, rounds)


def show(results: dict[str, dict[str, list[list[float]]]], rounds: int) -> None:
    print(f"median of {rounds}; blocking over awaited")
    print(
        f"{'':20}{'awaited ms':>12}{'blocking ms':>12}{'more, ms':>10}{'throughput':>12}{'CPU':>8}"
    )
    starts: list[float] = []
    for label, cell in results.items():
        time_a, time_b = (statistics.median(r[0] for r in cell[name]) for name in CONTENDERS)
        # Neighbours in time meet the same machine: the ratio of each pair, not of the medians.
        pairs = list(zip(cell["awaited"], cell["blocking"], strict=True))
        speed = statistics.median(a[0] / b[0] for a, b in pairs)
        cpu = statistics.median(b[1] / a[1] for a, b in pairs)
        more = statistics.median(b[0] - a[0] for a, b in pairs)
        print(f"{label:20}{time_a:12.3f}{time_b:12.3f}{more:12.3f}{speed:12.2f}{cpu:12.2f}")
        starts += [b[2] for b in cell["blocking"]]
    print(f"portal start: {statistics.median(starts):.1f} ms ({min(starts):.1f}-{max(starts):.1f})")


if __name__ == "__main__":
    main()
