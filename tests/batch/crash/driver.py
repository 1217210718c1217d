"""Runs batches in processes that are forked from one where everything is imported already.

Started as a script. Each line of its input is a JSON object that describes a run; when the process
forked for it has ended, a line of its output tells how: the exit code, or minus the signal.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import io
import json
import os
import resource
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from chainhub_async import AsyncChainHub, ChainHub, ChainHubError, Limits, ReplaceBackground
from chainhub_async.config import Timeout
from chainhub_async.transport.retry import RetryPolicy

# Linux: capget(2), capset(2); version 3 of the header, and two words of each set.
_CAPABILITY_VERSION = 0x20080522


def requests(run: dict[str, Any]) -> Iterator[ReplaceBackground]:
    """The inputs, as described."""
    for photo in run["photos"]:
        yield ReplaceBackground(
            photo["path"],
            prompt=photo["prompt"],
            seed=photo["seed"],
            num_images=photo["images"],
        )


def options(run: dict[str, Any]) -> dict[str, Any]:
    """How the client is set up."""
    return {
        "api_key": run["api_key"],
        "base_url": run["base_url"],
        "limits": Limits(in_flight=run["in_flight"]),
        "retry": RetryPolicy(base_delay=0.01, max_delay=0.05),
        "timeout": Timeout(connect=10, read=20, attempt=30),
    }


async def batch(run: dict[str, Any], told: TextIO) -> None:
    """The batch, with one line for each outcome and one for how it ended."""

    def tell(**facts: object) -> None:
        told.write(json.dumps(facts) + "\n")
        told.flush()

    opened = None
    try:
        async with (
            AsyncChainHub(**options(run)) as hub,
            hub.batch(
                ledger=run["ledger"], save_to=run["save_to"], **run.get("batch", {})
            ) as opened,
        ):
            async for outcome in opened.run(requests(run)):
                tell(
                    index=outcome.index,
                    key=outcome.key,
                    state=outcome.state,
                    saved=[str(path) for path in outcome.saved],
                    billed=outcome.billed.value,
                    spent=outcome.spent,
                    paid=outcome.result is not None,
                    error=None if outcome.error is None else type(outcome.error).__name__,
                    message=None if outcome.error is None else str(outcome.error),
                )
    except Exception as problem:
        known = isinstance(problem, ChainHubError)
        tell(
            raised=type(problem).__name__,
            message=str(problem),
            trace=None if known else traceback.format_exc(),
        )
    stopped = None if opened is None else opened.stopped
    tell(
        ended=True,
        stopped=None if stopped is None else type(stopped).__name__,
        why=None if stopped is None else str(stopped),
        spent=0 if opened is None else opened.spent,
    )


def naive(run: dict[str, Any], told: TextIO) -> None:
    """What is written first when there is no ledger: results noted in a JSON file as they come."""
    notes = Path(run["ledger"])
    folder = Path(run["save_to"])
    folder.mkdir(exist_ok=True)
    done: dict[str, Any] = json.loads(notes.read_text()) if notes.exists() else {}
    with ChainHub(**options(run)) as hub:
        for photo in run["photos"]:
            path = Path(photo["path"])
            if path.stem not in done:
                result = hub.ideogram.replace_background(
                    path, prompt=photo["prompt"], seed=photo["seed"], num_images=photo["images"]
                )
                done[path.stem] = [image.url for image in result.images]
                notes.write_text(json.dumps(done))
            for number, url in enumerate(done[path.stem], start=1):
                target = folder / f"{path.stem}-{number}.png"
                if not target.exists():
                    hub.download(url, target)
    told.write(json.dumps({"ended": True}) + "\n")


def stand_in(run: dict[str, Any], told: TextIO) -> None:
    """Only a database with a write-ahead log, and files that are renamed: no network."""
    folder = Path(run["save_to"])
    folder.mkdir(exist_ok=True)
    connection = sqlite3.connect(run["ledger"], isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS done (number INTEGER PRIMARY KEY)")
    for number in range(5):
        part = folder / f"{number}.part"
        with part.open("wb") as file:
            file.write(b"x" * 1000)
            file.flush()
            os.fsync(file.fileno())
        part.rename(folder / f"{number}.bin")
        connection.execute("INSERT OR IGNORE INTO done VALUES (?)", (number,))
    connection.close()
    told.write(json.dumps({"ended": True}) + "\n")


def arm(fault: dict[str, Any]) -> None:
    """Lets the preloaded library begin."""
    library = ctypes.CDLL(None)
    text, number = ctypes.c_char_p, ctypes.c_long
    library.fault_arm.argtypes = [text, text, number, text, text]
    below, kind, log, disk = (fault[name].encode() for name in ("below", "kind", "log", "disk"))
    if library.fault_arm(below, kind, int(fault["at"]), log, disk):
        raise ValueError(f"the fault {fault} cannot be armed")


def give_up_privileges() -> None:
    """Makes the superuser respect permissions, as everybody else does."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def play(run: dict[str, Any], told: TextIO) -> None:
    """Does what is asked for, with the fault that is asked for."""
    if run.get("unprivileged"):
        give_up_privileges()
    if run.get("fault"):
        arm(run["fault"])
    mode = run.get("mode", "batch")
    if mode == "batch":
        asyncio.run(batch(run, told))
    else:
        {"naive": naive, "stand-in": stand_in}[mode](run, told)


def play_with_small_files(run: dict[str, Any], told: TextIO) -> None:
    """The same where no file can be larger than a limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (run["file_limit"], before[1]))
    report = io.StringIO()
    try:
        play(run, report)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        told.write(report.getvalue())


def forked(run: dict[str, Any]) -> int:
    """What the new process does; returns its exit code."""
    with open(run["told"], "a", encoding="utf-8") as told:  # noqa: PTH123 - by name
        try:
            if run.get("file_limit") is None:
                play(run, told)
            else:
                play_with_small_files(run, told)
        except Exception:
            told.write(json.dumps({"crashed": traceback.format_exc()}) + "\n")
            return 70
    return 0


def outlived(process: int, run: dict[str, Any]) -> int:
    """Waits for the end of a process, or ends it when it is time; returns how it ended."""
    start = time.monotonic()
    kill_after = run.get("kill_after", float("inf"))
    kill_when = Path(run["kill_when"]) if run.get("kill_when") else None
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        lived = time.monotonic() - start
        if lived > kill_after or (kill_when is not None and kill_when.exists()):
            return kill(process)
        if lived > run.get("patience", 60):
            kill(process)
            return -signal.SIGALRM
        time.sleep(0.002)


def kill(process: int) -> int:
    """Ends a process as violently as can be; returns how it ended."""
    os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def serve() -> None:
    """Runs what is asked for, one after the other."""
    importlib.import_module("chainhub_async.batch.front")  # once, and not in each fork
    for line in sys.stdin:
        run = json.loads(line)
        process = os.fork()
        if not process:
            code = 71
            try:
                code = forked(run)
            finally:
                os._exit(code)
        sys.stdout.write(f"{outlived(process, run)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
