"""Batches of many inputs: memory stays flat, and a ledger costs little.

`BATCH_INPUTS` is how many; 100 000 take about two minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

INPUTS = int(os.environ.get("BATCH_INPUTS", "4000"))

# Run in a process of its own, so that nothing else is measured. The server is on the same loop, and
# keeps nothing of what it gets.
PROGRAM = """
import collections, json, sys, time
from pathlib import Path
import anyio
from aiohttp import web
from chainhub_async import AsyncChainHub, Limits, ReplaceBackground
from chainhub_async.testing.placeholder import flat_png

inputs, ledger = int(sys.argv[1]), Path(sys.argv[2])
posts = 0

async def answer(request):
    global posts
    posts += 1
    await request.read()
    image = {"url": "http://127.0.0.1:9/a.png", "prompt": "p", "resolution": "8x8", "seed": 1}
    return web.json_response({"created": "2026-01-05T10:11:12Z", "data": [image]})

def memory():
    status = Path("/proc/self/status").read_text()
    return [int(status.split(f"{name}:")[1].split()[0]) / 1024 for name in ("VmHWM", "VmRSS")]

def requests(most):
    for number in range(inputs):
        most[0] += 1
        image = flat_png((8, 8), "") + str(number).encode()  # colours would repeat
        yield ReplaceBackground(image, prompt="a forest")

async def main():
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    report = []
    async with AsyncChainHub("key", base_url=url, limits=Limits(in_flight=32)) as hub:
        for _ in range(2):
            started, read, ahead, states = time.monotonic(), [0], 0, collections.Counter()
            async with hub.batch(ledger=ledger) as batch:
                async for outcome in batch.run(requests(read)):
                    states[outcome.state.value] += 1
                    ahead = max(ahead, read[0] - states.total())
                    if states.total() == inputs // 10:
                        early = memory()[1]
            late = memory()
            took = time.monotonic() - started
            report.append([dict(states), posts, early, late[1], late[0], ahead, took])
    await runner.cleanup()
    print(json.dumps(report))

anyio.run(main)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_flat_memory(tmp_path: Path) -> None:
    """Memory does not grow with the number of inputs, sent or skipped, nor does the look-ahead."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(INPUTS), str(tmp_path / "l.db")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    sent, skipped = json.loads(done.stdout)
    assert sent[:2] == [{"ACCEPTED": INPUTS}, INPUTS]
    assert skipped[:2] == [{"SKIPPED": INPUTS}, INPUTS]
    for _, _, early, late, peak, ahead, _ in (sent, skipped):
        assert late - early < 15
        assert peak < 150
        assert ahead <= 2 * 32 + 1
    # A finished batch of 100 000 is resumed in 20 s, here with much to spare for slow machines.
    assert skipped[6] < max(20, INPUTS * 0.002)
