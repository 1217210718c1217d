"""Runs `chainhub batch`: in this process, on a terminal, and over a folder of photos."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import Result

from chainhub_async.testing import Emulator

from .conftest import call, command, png


def folder(number: int) -> str:
    """Makes a folder with so many photos, `p0.png` and so on, and returns its name."""
    Path("in").mkdir()
    for shade in range(number):
        Path("in", f"p{shade}.png").write_bytes(png(shade))
    return "in"


def batch(*arguments: str, yes: bool = True) -> Result:
    """Runs the command in this process."""
    given = ["--prompt", "a forest", "-o", "out", *(["--yes"] if yes else [])]
    return call("batch", *given, *arguments)


def rows(query: str, ledger: str = "out/chainhub.db") -> list[Any]:
    """What is in a ledger; of rows with one column, the values."""
    with closing(sqlite3.connect(ledger)) as connection:
        found = connection.execute(query).fetchall()
    return [row[0] if len(row) == 1 else row for row in found]


def posts(server: Emulator) -> int:
    """How many calls arrived."""
    return sum(request.method == "POST" for request in server.requests)


def terminal(*arguments: str, typed: bytes = b"", stdout: int | None = None) -> tuple[int, str]:
    """Runs the command in a process on a terminal; returns its code and what was shown."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("batch", "--prompt", "x", "-o", "out", *arguments),
        stdin=theirs,
        stdout=theirs if stdout is None else stdout,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        while True:
            # At the end of a terminal Linux raises, others give nothing.
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        code = process.wait(timeout=30)
    os.close(ours)
    return code, shown.decode()
