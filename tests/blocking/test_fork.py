"""Forked processes: a client that was in use stays the parent's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from chainhub_async.testing import Emulator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

Start = Callable[..., Any]

# Runs a function in a child and ends the child as an ordinary process ends.
IN_CHILD = """
def in_child(what):
    pid = os.fork()
    if not pid:
        what()
        gc.collect()
        sys.exit(0)
    until = time.monotonic() + 8
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return say("child ended", status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    say("child hangs")

def refused():
    try:
        hub.request("GET", "/v1/models")
    except ClosedError as error:
        say(str(error))

TOLD = "The client was in use before this process was forked"
"""


def test_unused_before_the_fork(start: Start, emulator: Emulator) -> None:
    """Parent and child each begin with a loop of their own."""
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
in_child(lambda: say(hub.request("GET", "/v1/models").status))
say(hub.request("GET", "/v1/models").status)
""",
        emulator.base_url,
    )
    assert program.end() == ["200", "child ended 0", "200"]


def test_used_before_the_fork(start: Start, emulator: Emulator) -> None:
    """The child is refused, may drop and close the client, and ends; the parent goes on.

    The parent's connection is used again after the child: nothing of it was touched there.
    """
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
hub.request("GET", "/v1/models")

def dropped():
    global hub
    refused()
    hub = None

def closed():
    hub.close()
    hub.close()
    refused()

def another():
    with ChainHub() as mine:
        say(mine.request("GET", "/v1/models").status)

for what in [refused, dropped, closed, another]:
    in_child(what)
say(hub.request("GET", "/v1/models").status)
hub.close()
""",
        emulator.base_url,
    )
    said = [line.partition(" before")[0] for line in program.end()]
    told = "The client was in use"
    assert said == [
        *(told, "child ended 0"),
        *(told, "child ended 0"),
        *(told, "child ended 0"),
        *("200", "child ended 0"),
        "200",
    ]
    # The parent's first connection, and the one of the child with a client of its own.
    assert emulator.connections == 2


def test_a_call_under_way_at_the_fork(start: Start, emulator: Emulator) -> None:
    """Forked in the middle of a call, and of the very first one, the child is refused as well."""
    emulator.latency = 0.5
    program = start(
        IN_CHILD
        + """
hub = ChainHub()
box = []
thread = threading.Thread(target=lambda: box.append(hub.ideogram.replace_background(PHOTO)))
thread.start()
time.sleep(0.25)
in_child(refused)
thread.join()
say(len(box[0].images))
hub.close()
""",
        emulator.base_url,
    )
    said = [line.partition(" before")[0] for line in program.end()]
    assert said == ["The client was in use", "child ended 0", "1"]


def test_a_lock_held_at_the_fork(start: Start, emulator: Emulator) -> None:
    """A fork while the loop is being started leaves no child that waits for ever."""
    program = start(
        IN_CHILD
        + """
from chainhub_async import portal as module
hub, opening = ChainHub(), threading.Event()
start = module._Loop.start

def slow(self):
    opening.set()
    time.sleep(1)
    start(self)

module._Loop.start = slow
thread = threading.Thread(target=lambda: say(hub.request("GET", "/v1/models").status))
thread.start()
opening.wait()

def closed():
    refused()
    hub.close()

in_child(closed)
thread.join()
hub.close()
""",
        emulator.base_url,
    )
    said = [line.partition(" before")[0] for line in program.end()]
    assert said == ["The client was in use", "child ended 0", "200"]


@pytest.mark.parametrize("used", ["True", "False"])
def test_multiprocessing(start: Start, emulator: Emulator, used: str) -> None:
    """Processes and pools of the standard library, started by fork."""
    program = start(
        f"USED = {used}"
        """
from concurrent.futures import ProcessPoolExecutor
hub = ChainHub()

def ask(_):
    try:
        return hub.request("GET", "/v1/models").status
    except ClosedError as error:
        return type(error).__name__

def main():
    if USED:
        hub.request("GET", "/v1/models")
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=ask, args=[0])
    process.start()
    process.join(10)
    say(process.exitcode)
    with ProcessPoolExecutor(2, mp_context=fork) as pool:
        say(*set(pool.map(ask, range(4))))
    say(ask(0))

main()
""",
        emulator.base_url,
    )
    expected = "ClosedError" if used == "True" else "200"
    assert program.end() == ["0", expected, "200"]
