"""`chainhub batch` on a terminal: the question, the bar; and how signals end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chainhub_async.cli import exits
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import TooManyRequests
from chainhub_async.testing.faults import NoAnswer, ResetAfter

from .batches import batch, folder, posts, terminal
from .conftest import Child, command, objects, png, until

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals and terminals are those of POSIX"),
    pytest.mark.slow,  # many processes
]

Start = Callable[..., Child]


@pytest.mark.parametrize(("answer", "code", "billed"), [(b"y\n", 0, 3), (b"\n", 1, 0)])
def test_on_a_terminal_it_asks(emulator: Emulator, answer: bytes, code: int, billed: int) -> None:
    """After saying what it would cost; no is the default."""
    got, shown = terminal(folder(3), "--price", "0.06", typed=answer)
    assert got == code
    assert "3 photos: 3 to send. To be billed: 3 images at 0.06 = 0.18.\r\n" in shown
    assert "Go ahead? [y/N]" in shown
    assert sum(emulator.billed.values()) == billed
    assert ("Nothing was sent." in shown) == (not billed)


def test_it_does_not_ask_about_nothing(emulator: Emulator) -> None:
    """If nothing would be billed, there is no question."""
    batch(folder(2), "--prompt", "x")
    code, shown = terminal("in")
    assert code == 0
    assert "Go ahead" not in shown
    assert "2 done by an earlier run" in shown


def test_the_bar_on_a_terminal(emulator: Emulator) -> None:
    """A bar moves on standard error; paths go between its frames, problems stay above it."""
    emulator.latency = 0.6
    folder(4)
    Path("in/x[b].png").write_text("no photo")
    code, shown = terminal("in", "--yes", "--in-flight", "2")
    assert code == 1
    assert "\x1b[?25l" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "/5" in shown
    assert "images/min" in shown
    assert "out/p0.png\r\n" in shown
    assert "REFUSED in/x[b].png: " in shown
    assert "SAVED in/" not in shown
    assert "5 photos: 4 saved, 1 refused. Billed or maybe billed in this run: 4 images." in shown


def test_a_pause_on_a_terminal(server: MisbehavingServer) -> None:
    """The bar says what is waited for."""
    server.script(TooManyRequests(1))
    code, shown = terminal(folder(1), "--yes", stdout=subprocess.DEVNULL)
    assert code == 0
    assert "paused: the gateway asked to wait 1 s" in shown
    assert "1 retry" in shown


def test_dry_run_on_a_terminal() -> None:
    """It is aligned for reading, and shows no bar among the lines."""
    folder(1)
    Path("in/text.png").write_text("no photo")
    code, shown = terminal("in", "--dry-run")
    assert code == 1
    assert "SEND       in/p0.png\r\n" in shown
    assert "REFUSE     in/text.png  →  " in shown
    assert "\x1b" not in shown


# --- interruptions ------------------------------------------------------------------------------

_BATCH = ("batch", "--prompt", "x", "-o", "out", "--yes")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_waits_for_what_is_paid_for(
    emulator: Emulator, start: Start, number: int, code: int
) -> None:
    """Nothing new is started, what is paid for is finished, and a resume does the rest."""
    emulator.latency = 1.0
    child = start(*_BATCH, folder(6), "--in-flight", "2")
    until(lambda: len(emulator.billed) == 2)
    child.signal(number)
    got, stdout, stderr = child.end()
    assert got == code
    assert stderr.splitlines()[0] == (
        "Stopping: nothing new is started. Waiting up to 30 s for 2 paid calls; press Ctrl-C again "
        "to stop at once."
    )
    assert "6 photos: 2 saved, 4 not started." in stderr
    assert len(stdout.splitlines()) == 2
    assert posts(emulator) == 2
    emulator.latency = 0.0
    done = batch("in", "--prompt", "x")
    assert "4 saved, 2 done by an earlier run" in done.stderr
    assert all(times == 1 for times in emulator.billed.values())


def test_a_second_ctrl_c_loses_nothing_that_was_recorded(emulator: Emulator, start: Start) -> None:
    """It ends the process at once; the next run knows what may have been billed, and holds it."""
    emulator.latency = 60.0
    child = start(*_BATCH, folder(3), "--in-flight", "2")
    until(lambda: len(emulator.billed) == 2)
    child.signal(signal.SIGINT)
    assert child.process.stderr is not None
    assert child.process.stderr.readline().startswith(b"Stopping: nothing new is started.")
    child.signal(signal.SIGINT)
    code, _, stderr = child.end()
    assert code == -signal.SIGINT
    assert stderr == (
        "Stopped at once. Billed or maybe billed in this run: 2 images, of which 2 are not saved. "
        "All of it is recorded: run the same command again to go on; it downloads what is paid "
        "for, and holds what may be. To look at it: chainhub ledger status out/chainhub.db\n"
    )
    emulator.latency = 0.0
    done = batch("in", "--prompt", "x")
    assert done.exit_code == exits.BILLED
    assert "1 saved, 2 uncertain" in done.stderr
    assert all(times == 1 for times in emulator.billed.values())


def test_the_last_line_counts_all_of_the_run(emulator: Emulator, start: Start) -> None:
    """What was saved before, and what is being made; nothing of earlier runs."""
    batch(folder(2), "--prompt", "x")
    for number in (2, 3, 4):
        Path(f"in/p{number}.png").write_bytes(png(number))
    emulator.latency = 3.0
    child = start(*_BATCH, "in", "--price", "0.5", "--in-flight", "1")
    assert child.process.stdout is not None
    assert child.process.stdout.readline() == b"out/p2.png\n"
    until(lambda: sum(emulator.billed.values()) == 4)
    child.signal(signal.SIGINT)
    assert child.process.stderr is not None
    while not child.process.stderr.readline().startswith(b"Stopping: "):
        pass
    child.signal(signal.SIGINT)
    _, _, stderr = child.end()
    assert "in this run: 2 images at 0.5 = 1.0, of which 1 is not saved." in stderr


def test_the_last_line_counts_what_is_lost(server: MisbehavingServer, start: Start) -> None:
    """What ended without being saved is not saved either, though its end was told."""
    server.for_image(png(0), ResetAfter())
    server.for_image(png(1), NoAnswer())
    child = start(*_BATCH, folder(2), "--json", "--in-flight", "1")
    assert child.process.stdout is not None
    assert b'"UNCERTAIN"' in child.process.stdout.readline()
    until(lambda: server.billed.total() == 2)
    child.signal(signal.SIGINT)
    assert child.process.stderr is not None
    while not child.process.stderr.readline().startswith(b"Stopping: "):
        pass
    child.signal(signal.SIGINT)
    _, _, stderr = child.end()
    assert "in this run: 2 images, of which 2 are not saved." in stderr


def test_an_ignored_ctrl_c_stays_ignored(emulator: Emulator, start: Start) -> None:
    """Once SIGTERM has come to a job in the background, it does not cost it its grace period."""
    emulator.latency = 1.0
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    child = start(*_BATCH, folder(2), "--in-flight", "1", before=ignored)
    until(lambda: emulator.billed)
    child.signal(signal.SIGTERM)
    assert child.process.stderr is not None
    assert child.process.stderr.readline().startswith(b"Stopping: nothing new is started.")
    child.signal(signal.SIGINT)
    code, _, stderr = child.end()
    assert code == 143
    assert "2 photos: 1 saved, 1 not started." in stderr


def test_a_second_ctrl_c_before_it_begins(emulator: Emulator, start: Start) -> None:
    """Nothing was billed, whatever an earlier run was."""
    batch(folder(2), "--prompt", "x")
    before = (
        "import time\n"
        "from chainhub_async.batch.ledger import Ledger\n"
        "def slow(path):\n"
        "    open('opening', 'w').close()\n"
        "    time.sleep(60)\n"
        "Ledger.open = slow\n"
    )
    child = start(*_BATCH, "in", before=before)
    until(Path("opening").exists)
    child.signal(signal.SIGINT)
    time.sleep(0.5)  # two at once are one
    child.signal(signal.SIGINT)
    code, _, stderr = child.end()
    assert code == -signal.SIGINT
    assert "in this run: 0 images, of which 0 are not saved." in stderr


def test_interrupted_on_a_terminal(emulator: Emulator) -> None:
    """The bar makes way for the sentence, and the cursor is shown again."""
    import pty

    emulator.latency = 1.5
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*_BATCH, folder(3), "--in-flight", "1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        until(lambda: emulator.billed)
        os.kill(process.pid, signal.SIGINT)
        stdout, _ = process.communicate(timeout=30)
    shown = os.read(ours, 1_000_000).decode()
    os.close(ours)
    assert process.returncode == 130
    assert len(stdout.splitlines()) == 1
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert "for 1 paid call; press" in shown
    assert "3 photos: 1 saved, 2 not started." in shown


def test_interrupted_before_it_begins(emulator: Emulator, start: Start) -> None:
    """While the ledger is opened there is nothing to wait for."""
    before = (
        "import time\n"
        "from chainhub_async.batch.ledger import Ledger\n"
        "opened = Ledger.open\n"
        "def slow(path):\n"
        "    open('opening', 'w').close()\n"
        "    time.sleep(1)\n"
        "    return opened(path)\n"
        "Ledger.open = slow\n"
    )
    child = start(*_BATCH, folder(2), before=before)
    until(Path("opening").exists)
    child.signal(signal.SIGINT)
    code, _, stderr = child.end()
    assert code == 130
    assert "2 photos: 2 not looked at." in stderr
    assert "Traceback" not in stderr
    assert not emulator.requests


def test_interrupted_when_all_is_done(emulator: Emulator, start: Start) -> None:
    """While connections are closed there is nothing to wait for either."""
    before = (
        "import anyio, chainhub_async.client as client\n"
        "close = client.AsyncChainHub.aclose\n"
        "async def aclose(self):\n"
        "    open('closing', 'w').close()\n"
        "    await anyio.sleep(1)\n"
        "    await close(self)\n"
        "client.AsyncChainHub.aclose = aclose\n"
    )
    child = start(*_BATCH, folder(2), "--json", before=before)
    until(Path("closing").exists)
    child.signal(signal.SIGTERM)
    code, stdout, stderr = child.end()
    assert code == 143
    assert [each["state"] for each in objects(stdout)] == ["SAVED", "SAVED"]
    assert "Stopping" not in stderr
    assert "2 photos: 2 saved." in stderr


def test_killed(emulator: Emulator, start: Start) -> None:
    """However hard it ends, it is known what became uncertain, and nothing is paid twice."""
    emulator.latency = 60.0
    child = start(*_BATCH, folder(3), "--in-flight", "2")
    until(lambda: len(emulator.billed) == 2)
    child.signal(signal.SIGKILL)
    child.end()
    emulator.latency = 0.0
    dry = batch("in", "--prompt", "x", "--dry-run", "--json")
    assert sorted(each["action"] for each in objects(dry.stdout)) == ["HOLD", "HOLD", "SEND"]
    assert batch("in", "--prompt", "x").exit_code == exits.BILLED
    assert all(times == 1 for times in emulator.billed.values())
