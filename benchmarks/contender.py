"""Uploads one file many times in one way, and reports what that took.

`python contender.py NAME URL FILE REQUESTS PARALLEL [CA]` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from contenders import AWAITED, OWN_LOOP, Target, Upload

TICK = 0.005


async def ticker(late: list[float]) -> None:
    """Measures how late the loop is for others that share it."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - due)


def peak_mb() -> float:
    """The peak of this process's memory; `ru_maxrss` would begin with that of its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def report(
    times: list[float], late: list[float], idle: resource.struct_rusage, idle_mb: float, took: float
) -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - idle.ru_utime - idle.ru_stime
    times.sort()
    late.sort()
    return {
        "requests_per_second": len(times) / took,
        "cpu_ms": 1000 * cpu / len(times),
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[len(times) * 99 // 100],
        "late_p99_ms": 1000 * late[len(late) * 99 // 100] if late else 0.0,
        "late_worst_ms": 1000 * late[-1] if late else 0.0,
        "rss_growth_mb": peak_mb() - idle_mb,
    }


async def measure(name: str, to: Target, requests: int) -> dict[str, float]:
    left = iter(range(requests))
    times: list[float] = []
    late: list[float] = []

    async def worker(upload: Upload) -> None:
        for _ in left:
            start = time.perf_counter()
            await upload()
            times.append(time.perf_counter() - start)

    async with AsyncExitStack() as stack:
        upload = await AWAITED[name](stack, to)
        await upload()
        idle, idle_mb = resource.getrusage(resource.RUSAGE_SELF), peak_mb()
        ticking = asyncio.create_task(ticker(late))
        start = time.perf_counter()
        await asyncio.gather(*(worker(upload) for _ in range(to.parallel)))
        took = time.perf_counter() - start
        ticking.cancel()
        return report(times, late, idle, idle_mb, took)


def measure_own_loop(name: str, to: Target, requests: int) -> dict[str, float]:
    OWN_LOOP[name](to, 1, [])
    times: list[float] = []
    idle, idle_mb = resource.getrusage(resource.RUSAGE_SELF), peak_mb()
    start = time.perf_counter()
    OWN_LOOP[name](to, requests, times)
    return report(times, [], idle, idle_mb, time.perf_counter() - start)


def main() -> None:
    name, url, file, count, parallel, *ca = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    to = Target(url, Path(file), ca[0] if ca else None, int(parallel))
    if name in OWN_LOOP:
        told = measure_own_loop(name, to, int(count))
    else:
        told = asyncio.run(measure(name, to, int(count)))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
