"""A real notebook, whose kernel runs an event loop in the thread of the cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chainhub_async.testing import Emulator

pytestmark = pytest.mark.slow  # many processes

# Executed by a process of its own: the machinery of notebooks warns of itself.
EXECUTE = """
import json, sys
import nbformat
from nbclient import NotebookClient

cells = json.loads(sys.stdin.read())
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([
    "".join(output.get("text", "") or "\\n".join(output.get("traceback", ""))
            for output in cell.outputs).strip()
    for cell in notebook.cells
]))
"""

CELLS = [
    """
import asyncio, os, threading, warnings
warnings.simplefilter("error")
from chainhub_async import *
from chainhub_async.testing.placeholder import flat_png
photo = flat_png((8, 8), "notebook")
print(asyncio.get_running_loop().is_running())
""",
    """
hub = ChainHub(on_event=lambda event: seen.append(threading.current_thread().name))
seen = []
result = hub.ideogram.replace_background(photo, prompt="a forest", seed=7)
print(result.images[0].seed, set(seen))
""",
    """
print([path.name for path in hub.save(result, "FOLDER", name="cat")])
""",
    """
requests = [ReplaceBackground(photo, seed=n) for n in range(5)]
with hub.batch(ledger="FOLDER/ledger.db", save_to="FOLDER/out") as batch:
    print(sorted(outcome.state.value for outcome in batch.run(requests)))
""",
    """
with ChainHub() as other, other.batch(ledger="FOLDER/ledger.db") as batch:
    print(sorted({outcome.state.value for outcome in batch.run(requests)}))
""",
    # It blocks the loop of the notebook meanwhile, and goes on with it afterwards.
    """
ticks = []
async def tick():
    while True:
        ticks.append(1)
        await asyncio.sleep(0.001)
ticking = asyncio.ensure_future(tick())
await asyncio.sleep(0.02)
before = len(ticks)
hub.ideogram.replace_background(photo)
during = len(ticks) - before
await asyncio.sleep(0.02)
ticking.cancel()
print(before > 0, during, len(ticks) > before)
""",
    # What a notebook can do just as well.
    """
async with AsyncChainHub() as awaited:
    print((await awaited.ideogram.replace_background(photo, seed=8)).images[0].seed)
""",
    """
threads = await asyncio.gather(*[
    asyncio.to_thread(hub.ideogram.replace_background, photo, seed=n) for n in range(4)
])
print([each.images[0].seed for each in threads])
""",
]


def test_notebook(tmp_path: Path, emulator: Emulator) -> None:
    """Calls, downloads and batches work in cells; a client that is not closed ends in silence."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [cell.strip().replace("FOLDER", str(tmp_path)) for cell in CELLS]
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE],
        input=json.dumps(cells),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "CHAINHUB_API_KEY": emulator.api_key,
            "CHAINHUB_BASE_URL": emulator.base_url,
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == [
        "True",
        "7 {'chainhub-async'}",
        "['cat.png']",
        str(["SAVED"] * 5),
        "['SKIPPED']",
        "True 0 True",
        "8",
        "[0, 1, 2, 3]",
    ]
    for word in ("Unclosed", "Event loop is closed", "never awaited"):
        assert word not in done.stderr
