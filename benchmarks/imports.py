"""What a program waits for before its first line: imports, and the command's help."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness import FailedError, Report, Result, Settings, take_turns
from machine import pinned

BASELINE, OWN, HELP = "import aiohttp", "import chainhub_async", "chainhub --help"
IMPORTS = [BASELINE, OWN, "from chainhub_async import AsyncChainHub"]
NOTHING = "nothing"
# Isolated: the checkout is not imported by accident, nor anything of the user's.
TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def run(settings: Settings) -> Iterator[Result]:
    """Measures the one cell of this suite."""
    title = "Fresh processes"
    if settings.only not in title:
        return
    contenders = [NOTHING, *IMPORTS]
    notes = ["Compiled modules are cached; the process as a whole includes Python's own start."]
    command = shutil.which("chainhub", path=Path(sys.executable).parent)
    if command and _helps(command):
        contenders.append(HELP)
    else:
        notes.append(f"`{HELP}` was not measured: the extra `cli` is not installed.")
    once = partial(_once, command or "")
    for name in contenders:
        once(name)
    runs, failed = take_turns(contenders, settings.rounds_or(30, 100), once, essential=contenders)
    yield Result(
        suite="imports",
        title=title,
        baseline=BASELINE,
        figures=["import_ms", "process_ms"],
        compared=["import_ms", "process_ms"],
        runs=runs,
        notes=notes + failed,
    )


def _once(command: str, name: str) -> Report:
    if name == HELP:
        words = [command, "--help"]
    else:
        statement = "pass" if name == NOTHING else name
        words = [sys.executable, "-I", "-c", TIMED.format(statement)]
    began = time.perf_counter()
    done = subprocess.run([*pinned(1), *words], capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise FailedError(done.stderr.strip().rpartition("\n")[2])
    report = {"process_ms": 1000 * took}
    if name != HELP:
        report["import_ms"] = 1000 * float(done.stdout)
    return report


def _helps(command: str) -> bool:
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "Usage" in done.stdout
