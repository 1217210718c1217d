"""Makes many calls in one way, and reports what that took: `python contender.py JSON`.

It connects and makes as many calls as there will be at once before the clock starts.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import attrs
import cold_files
from download_contenders import SAVERS
from target import Awaited, Run, Target
from upload_contenders import AWAITED
from upload_threads import OWN_LOOP

TICK = 0.005


async def ticker(late: list[float]) -> None:
    """Measures how late the loop is for others that share it."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append(time.perf_counter() - due)


def memory_mb(what: str) -> float:
    """Returns `VmRSS` or `VmHWM`, its peak."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def idle_mb() -> float:
    """Returns the memory of a process that has made one call, and forgets its peak so far."""
    gc.collect()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory_mb("VmRSS")


def sockets() -> int | None:
    """Returns how many sockets are open, two of which are the event loop's own."""
    try:
        entries = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    found = 0
    for entry in entries:
        with suppress(OSError):  # the listing's own is gone
            found += entry.readlink().name.startswith("socket:")
    return found


def cpu_of(process: int) -> float:
    """Returns the seconds that another process has computed."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except OSError:
        return 0.0
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Clock:
    """Begins when it is built, and makes a report of what came after."""

    def __init__(self, server: int, idle: float) -> None:
        gc.collect()
        self._server, self._idle = server, idle
        self._servers_cpu, self._cpu = cpu_of(server), time.process_time()
        self._began = time.perf_counter()

    def report(self, times: list[float], late: list[float]) -> dict[str, float]:
        took = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu
        times.sort()
        late.sort()
        told = {
            "calls": len(times),
            "seconds": took,
            "requests_per_second": len(times) / took,
            "cpu_ms": 1000 * cpu / len(times),
            "client_busy_percent": 100 * cpu / took,
            "server_busy_percent": 100 * (cpu_of(self._server) - self._servers_cpu) / took,
            "p50_ms": 1000 * times[len(times) // 2],
            "p99_ms": 1000 * times[len(times) * 99 // 100],
            "rss_growth_mb": memory_mb("VmHWM") - self._idle,
        }
        if (still_open := sockets()) is not None:
            told["sockets"] = still_open
        if late:
            told["late_ticks"] = len(late)
            told["late_p99_ms"] = 1000 * late[len(late) * 99 // 100]
            told["late_worst_ms"] = 1000 * late[-1]
        return told


@attrs.frozen(kw_only=True)
class Turn:
    """How long a turn takes.

    Attributes:
        least: how many calls it makes at least.
        seconds: how long it goes on starting calls at least.
        server: the server's process.
        before: what is to be done just before the clock starts.
    """

    least: int
    seconds: float
    server: int
    before: Callable[[], None]

    def numbers(self) -> Iterator[int]:
        over = time.perf_counter() + self.seconds
        for number in itertools.count():
            if number >= self.least and time.perf_counter() >= over:
                return
            yield number


async def measure(prepare: Awaited, to: Target, turn: Turn) -> dict[str, float]:
    times: list[float] = []
    late: list[float] = []
    left: Iterator[int] = iter(())
    async with AsyncExitStack() as stack:
        call = await prepare(stack, to)

        async def worker() -> None:
            for number in left:
                began = time.perf_counter()
                await call(number)
                times.append(time.perf_counter() - began)

        await call(-1)
        idle = idle_mb()
        await asyncio.gather(*(call(-2 - number) for number in range(to.parallel)))
        turn.before()
        left = turn.numbers()
        clock = Clock(turn.server, idle)
        ticking = asyncio.create_task(ticker(late))
        await asyncio.gather(*(worker() for _ in range(to.parallel)))
        told = clock.report(times, late)
        ticking.cancel()
        return told


def measure_own_loop(run: Run, to: Target, turn: Turn) -> dict[str, float]:
    run([-1], [])
    idle = idle_mb()
    run(range(-2, -2 - to.parallel, -1), [])
    turn.before()
    times: list[float] = []
    clock = Clock(turn.server, idle)
    run(turn.numbers(), times)
    return clock.report(times, [])


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    name = given["name"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    to = Target(
        url=given["url"], path=Path(given["path"]), ca=given["ca"], parallel=given["parallel"]
    )

    def before() -> None:
        if given["cold"]:
            cold_files.forget(to.files[:-1])

    turn = Turn(
        least=given["least"], seconds=given["seconds"], server=given["server"], before=before
    )
    if given["job"] == "download":
        told = asyncio.run(measure(SAVERS[name], to, turn))
    elif name in OWN_LOOP:
        told = measure_own_loop(OWN_LOOP[name](to), to, turn)
    else:
        told = asyncio.run(measure(AWAITED[name], to, turn))
    print(json.dumps(told), flush=True)
    # Threads of other runtimes may crash in Python's end, which is no part of what is measured.
    os._exit(0)


if __name__ == "__main__":
    main()
