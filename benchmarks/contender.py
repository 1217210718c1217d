"""Uploads one file many times in one way, and reports what that took.

`python contender.py NAME URL FILE REQUESTS CONCURRENCY` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from chainhub_async import AsyncChainHub, Limits

PATH = "/ideogram/v1/ideogram-v3/replace-background"
KEY = "benchmark-key"
PROMPT = "a pine forest at dawn"

Upload = Callable[[], Awaitable[object]]
TICK = 0.005


async def aiohttp_file(stack: AsyncExitStack, url: str, file: Path) -> Upload:
    """The baseline: what a user writes, a form with an open file."""
    headers = {"Authorization": f"Bearer {KEY}"}
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))

    async def upload() -> object:
        with file.open("rb") as image:
            form = aiohttp.FormData()
            form.add_field("prompt", PROMPT)
            form.add_field("image", image, filename="image.png", content_type="image/png")
            async with session.post(url + PATH, data=form) as reply:
                return await reply.json()

    return upload


async def aiohttp_bytes(stack: AsyncExitStack, url: str, file: Path) -> Upload:
    """The same with the whole file in memory."""
    headers = {"Authorization": f"Bearer {KEY}"}
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))

    async def upload() -> object:
        form = aiohttp.FormData()
        form.add_field("prompt", PROMPT)
        form.add_field("image", file.read_bytes(), filename="image.png", content_type="image/png")
        async with session.post(url + PATH, data=form) as reply:
            return await reply.json()

    return upload


async def chainhub(stack: AsyncExitStack, url: str, file: Path) -> Upload:
    """This package."""
    limits = Limits(in_flight=None)
    hub = await stack.enter_async_context(AsyncChainHub(KEY, base_url=url, limits=limits))
    return lambda: hub.ideogram.replace_background(file, prompt=PROMPT)


CONTENDERS = {
    "aiohttp-file": aiohttp_file,
    "aiohttp-bytes": aiohttp_bytes,
    "chainhub-async": chainhub,
}


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


async def measure(name: str, url: str, file: Path, requests: int, concurrency: int) -> None:
    left = iter(range(requests))
    times: list[float] = []
    late: list[float] = []

    async def worker(upload: Upload) -> None:
        for _ in left:
            start = time.perf_counter()
            await upload()
            times.append(time.perf_counter() - start)

    async with AsyncExitStack() as stack:
        upload = await CONTENDERS[name](stack, url, file)
        await upload()
        idle, idle_mb = resource.getrusage(resource.RUSAGE_SELF), peak_mb()
        ticking = asyncio.create_task(ticker(late))
        start = time.perf_counter()
        await asyncio.gather(*(worker(upload) for _ in range(concurrency)))
        seconds = time.perf_counter() - start
        ticking.cancel()
        used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - idle.ru_utime - idle.ru_stime
    times.sort()
    late.sort()
    report = {
        "requests_per_second": requests / seconds,
        "cpu_ms": 1000 * cpu / requests,
        "p50_ms": 1000 * times[len(times) // 2],
        "p99_ms": 1000 * times[len(times) * 99 // 100],
        "late_p99_ms": 1000 * late[len(late) * 99 // 100] if late else 0.0,
        "rss_growth_mb": peak_mb() - idle_mb,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    _, contender, address, path, count, parallel = sys.argv
    asyncio.run(measure(contender, address, Path(path), int(count), int(parallel)))
