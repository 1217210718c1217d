"""Ctrl-C and its kin: clean-up, one sentence, the right code; in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.faults import Fault, StopReading
from chainhub_async.testing.http_bytes import Exchange, Reply

from .conftest import Child, command, names, objects, until

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX has them"),
    pytest.mark.slow,  # many processes
]

Photos = Callable[[int], list[str]]
Start = Callable[..., Child]
_REPLACE = ("replace-background", "--prompt", "x", "-o", "out")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_while_the_gateway_works(
    emulator: Emulator, photos: Photos, start: Start, number: int, code: int
) -> None:
    """What had left may be billed and is named; what had not begun is counted."""
    emulator.latency = 60.0
    child = start(*_REPLACE, *photos(4), "--in-flight", "2", "-q")
    until(lambda: len(emulator.billed) == 2)
    child.signal(number)
    got, stdout, stderr = child.end()
    assert (got, stdout) == (code, "")
    assert stderr.startswith("Interrupted: 0 of 4 photos saved; ")
    assert "billed or possibly billed, but not saved: p0.png, p1.png; 2 not started." in stderr
    assert stderr.count("\n") == 1
    assert sum(record.method == "POST" for record in emulator.requests) == 2


def test_before_anything_was_sent(
    server: MisbehavingServer, photos: Photos, place: Path, start: Start
) -> None:
    """An upload that is broken off is not billed, and the sentence says so."""
    large = (place / photos(1)[0]).read_bytes()
    (place / "large.png").write_bytes(large + bytes(9_000_000))
    server.always(StopReading(0))
    child = start(*_REPLACE, "large.png", "--json")
    until(lambda: server.received)
    child.signal(signal.SIGINT)
    code, stdout, stderr = child.end()
    assert code == 130
    told = objects(stdout)[0]
    assert (told["state"], told["billed"]) == ("PENDING", "no")
    assert stderr.splitlines()[-1] == ("Interrupted: 0 of 1 photo saved; nothing else was billed.")


@attrs.frozen
class _Halt(Fault):
    """Send so much of a picture that some of it is written, then wait for the client to go."""

    async def act(self, x: Exchange) -> None:
        x.keep_alive = False
        reply = Reply(headers=(("Content-Type", "image/png"),), body=bytes(500_000))
        await x.wire.send(reply.head() + reply.body[:400_000])
        await x.wire.wait_gone()


def test_while_downloading(
    server: MisbehavingServer, photos: Photos, place: Path, start: Start
) -> None:
    """The address of a paid result is printed, and no half file is left."""
    server.gets.always(_Halt())
    child = start(*_REPLACE, *photos(1), "--json")
    until(lambda: any(name.endswith(".part") for name in names(place / "out")))
    child.signal(signal.SIGINT)
    code, stdout, stderr = child.end()
    assert code == 130
    told = objects(stdout)[0]
    assert (told["state"], told["billed"]) == ("ACCEPTED", "yes")
    assert told["results"][0]["url"] in stderr
    assert "Interrupted: 0 of 1 photo saved; billed" in stderr
    assert "Traceback" not in stderr
    assert names(place / "out") == []


def test_while_waiting_for_a_task(emulator: Emulator, photos: Photos, start: Start) -> None:
    """The id of a task that is paid for is printed."""
    emulator.reply = "task"
    emulator.task_polls = 1000
    child = start(*_REPLACE, *photos(1), "--task-path", emulator.task_path)
    until(lambda: len(emulator.requests) > 1)
    child.signal(signal.SIGINT)
    code, _, stderr = child.end()
    assert code == 130
    task_id = emulator.requests[1].path.rpartition("/")[2]
    assert f"p0.png: cancelled: task {task_id}" in stderr


def test_a_second_one_ends_it_at_once(emulator: Emulator, photos: Photos, start: Start) -> None:
    """Even when the clean-up hangs."""
    emulator.latency = 60.0
    before = (
        "import anyio, chainhub_async.client as client\n"
        "async def aclose(self):\n"
        "    with anyio.CancelScope(shield=True):\n"
        "        open('closing', 'w').close()\n"
        "        await anyio.sleep(60)\n"
        "client.AsyncChainHub.aclose = aclose\n"
    )
    child = start(*_REPLACE, *photos(1), before=before)
    until(lambda: emulator.billed)
    child.signal(signal.SIGINT)
    until(Path("closing").exists)
    child.signal(signal.SIGTERM)  # only the second Ctrl-C is meant to be rude
    child.signal(signal.SIGINT)
    assert child.end()[0] == -signal.SIGINT


def test_before_the_work_begins(start: Start, photos: Photos, place: Path) -> None:
    """While a photo is read from standard input there is nothing to clean up."""
    # Interrupted while it imports, Python itself warns of files it had open, where warnings show.
    quiet = [part for part in command(*_REPLACE, "-", "--emulator") if part not in {"-W", "error"}]
    with subprocess.Popen(
        quiet,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        until((place / "out").exists)
        os.kill(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in stderr


def test_an_ignored_signal_stays_ignored(
    emulator: Emulator, photos: Photos, place: Path, start: Start
) -> None:
    """Under `nohup`, closing the terminal does not interrupt."""
    emulator.latency = 1.0
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    child = start(*_REPLACE, *photos(1), before=before)
    until(lambda: emulator.billed)
    child.signal(signal.SIGHUP)
    assert child.end()[0] == 0
    assert (place / "out" / "p0.png").exists()


def test_signals_are_given_back() -> None:
    """After a block, the handlers are those from before."""
    code = (
        "import signal, anyio\n"
        "from chainhub_async.cli.interrupts import interruptible\n"
        "async def main():\n"
        "    with interruptible(lambda: None) as found:\n"
        "        assert signal.getsignal(signal.SIGTERM) not in (None, signal.SIG_DFL)\n"
        "    assert found.number is None\n"
        "anyio.run(main)\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
