"""`chainhub emulator`: it can be read by scripts, used, and ended."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Child, call, replace

Photos = Callable[[int], list[str]]
Start = Callable[..., Child]


def announced(child: Child) -> dict[str, str]:
    """What it tells to export."""
    stdout = child.process.stdout
    assert stdout is not None
    lines = [stdout.readline().decode() for _ in range(2)]
    pairs = (line.removeprefix("export ").strip().partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runs_until_it_is_told_to_end(
    start: Start, photos: Photos, place: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A script reads the variables, uses them, and ends it with code 0."""
    child = start("emulator", "--reply", "task", "--task-polls", "0")
    for name, value in announced(child).items():
        monkeypatch.setenv(name, value)
    assert child.process.stdout is not None
    path = child.process.stdout.readline().decode().split("'")[-2]
    done = replace(*photos(1), "-o", "out", "--task-path", path)
    assert done.exit_code == 0
    assert (place / "out" / "p0.png").exists()
    child.signal(number)
    assert child.end() == (0, "", "")


def test_options_reach_it(start: Start, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options are the emulator's own."""
    child = start("emulator", "--balance", "0", "--latency", "0.1", "--reply", "wrapped")
    for name, value in announced(child).items():
        monkeypatch.setenv(name, value)
    done = replace(*photos(1), "-o", "out")
    assert done.exit_code == 4
    assert "quota" in done.stderr


def test_port_in_use() -> None:
    """A port that is taken is one sentence, and code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call("emulator", "--port", str(taken.getsockname()[1]))
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: The emulator cannot listen on 127.0.0.1 port ")
    assert done.stderr.count("\n") == 1


def test_a_host_that_is_none() -> None:
    """So is an address that is not this machine's."""
    done = call("emulator", "--host", "does-not-exist.invalid")
    assert done.exit_code == 1
    assert "does-not-exist.invalid" in done.stderr


def test_it_ends_in_this_process_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it announces is what it listens on, until the signal."""
    from chainhub_async.cli import emulator

    original = emulator._announce

    def announce(running: object) -> None:
        original(running)  # type: ignore[arg-type]  # stands in for a method
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(emulator, "_announce", announce)
    done = call("emulator", "--reply", "task")
    assert done.exit_code == 0
    assert "export CHAINHUB_BASE_URL=http://127.0.0.1:" in done.stdout
    assert "--task-path '/" in done.stdout
