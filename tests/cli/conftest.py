"""Photos, servers, and ways to run the command: in this process, and in one of its own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from chainhub_async.cli.app import chainhub
from chainhub_async.testing import Emulator, MisbehavingServer

_MAIN = "from chainhub_async.cli import main; main()"


def png(shade: int) -> bytes:
    """A whole PNG of 8 by 8 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    rows = b"".join(b"\0" + bytes([shade] * 24) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def names(directory: Path) -> list[str]:
    """What is in a directory, hidden files included; nothing if there is none."""
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to work in, and nothing set in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("CHAINHUB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm")
    return tmp_path


@pytest.fixture
def photos(place: Path) -> Callable[[int], list[str]]:
    """Makes so many photos, `p0.png` and so on, and returns their names."""

    def make(number: int) -> list[str]:
        for shade in range(number):
            (place / f"p{shade}.png").write_bytes(png(shade))
        return [f"p{shade}.png" for shade in range(number)]

    return make


def point_to(server: Emulator | MisbehavingServer) -> dict[str, str]:
    """The environment that leads the command to a server."""
    key = server.api_key if isinstance(server, Emulator) else "sk-secret-of-tests"
    return {"CHAINHUB_BASE_URL": server.base_url, "CHAINHUB_API_KEY": key}


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Generator[Emulator, None, None]:
    """An emulator that the environment points to."""
    with Emulator.in_thread() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Generator[MisbehavingServer, None, None]:
    """A server that misbehaves, that the environment points to."""
    with MisbehavingServer.in_thread() as running:
        for name, value in point_to(running).items():
            monkeypatch.setenv(name, value)
        yield running


def call(*arguments: str, stdin: bytes = b"") -> Result:
    """Runs the command in this process."""
    return CliRunner(catch_exceptions=False).invoke(chainhub, arguments, input=stdin)


def replace(*arguments: str, stdin: bytes = b"") -> Result:
    """Runs `replace-background` in this process."""
    return call("replace-background", "--prompt", "a forest", *arguments, stdin=stdin)


def objects(text: str) -> list[dict[str, Any]]:
    """The lines of `--json`."""
    return [json.loads(line) for line in text.splitlines()]


def command(*arguments: str, before: str = "") -> list[str]:
    """The arguments that run the command in a process of its own."""
    return [sys.executable, "-W", "error", "-c", before + _MAIN, *arguments]


@attrs.define
class Child:
    """The command in a process of its own, while it runs."""

    process: subprocess.Popen[bytes]

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """Waits for its end; returns its code and what it wrote."""
        stdout, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stdout.decode(), stderr.decode()


@pytest.fixture
def start() -> Generator[Callable[..., Child], None, None]:
    """Starts the command in a process of its own, ended with the test in any case."""
    children: list[Child] = []

    def begin(*arguments: str, before: str = "") -> Child:
        process = subprocess.Popen(
            command(*arguments, before=before),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        children.append(Child(process))
        return children[-1]

    yield begin
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


def until(condition: Callable[[], object]) -> None:
    """Waits until something in another thread or process has come true."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
