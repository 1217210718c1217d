"""Run as a program: uploads a file some times at once, and prints its peak memory in KiB."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from chainhub_async import AsyncChainHub, Limits


def peak() -> int:
    """Peak resident memory in KiB."""
    try:
        # Not `ru_maxrss`: on Linux a process inherits that from the one it was forked from.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0])
    except FileNotFoundError:
        import resource

        divisor = 1024 if sys.platform == "darwin" else 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // divisor


async def main(url: str, warm_up: str, image: str, calls: int) -> None:
    async with AsyncChainHub("sk-1", base_url=url, limits=Limits(in_flight=None)) as hub:
        async with anyio.create_task_group() as group:
            for _ in range(calls):
                group.start_soon(hub.ideogram.replace_background, warm_up)
        before = peak()
        async with anyio.create_task_group() as group:
            for _ in range(calls):
                group.start_soon(hub.ideogram.replace_background, image)
    sys.stdout.write(f"{before} {peak()}\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
