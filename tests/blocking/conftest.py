"""What the tests of the blocking client share: a server, a picture, and programs of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import attrs
import pytest

from chainhub_async import ChainHub
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((8, 8), "blocking")

# What each program begins with. asyncio's debug mode warns of slow steps, which machines have.
PRELUDE = """
import atexit, gc, logging, multiprocessing, os, signal, sys, threading, time
logging.getLogger("asyncio").setLevel(logging.ERROR)
from chainhub_async import *
from chainhub_async.testing.placeholder import flat_png
PHOTO = flat_png((8, 8), "blocking")

def say(*words):
    print(*words, flush=True)
"""


@attrs.define
class Program:
    """A running program of its own process."""

    process: subprocess.Popen[str]

    def wait_for(self, line: str) -> None:
        """Reads what it says up to a line."""
        assert self.process.stdout
        for said in self.process.stdout:
            if said.strip() == line:
                return
        pytest.fail(f"it ended without saying {line!r}: {self.process.communicate()[1]}")

    def interrupt(self) -> None:
        """Presses Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, within: float = 15.0) -> list[str]:
        """Waits for its end, which must be a clean and silent one; returns what else it said."""
        began = time.monotonic()
        try:
            out, err = self.process.communicate(timeout=within + 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            pytest.fail(f"it hangs: {self.process.communicate()}")
        assert err == ""
        assert self.process.returncode == 0
        assert time.monotonic() - began < within
        return out.splitlines()


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs that talk to a server, every warning an error."""
    running: list[Program] = []

    def start(source: str, url: str = "http://127.0.0.1:9", **variables: str) -> Program:
        process = subprocess.Popen(
            # From 3.12 on Python warns of every fork beside threads, which is what is tested here.
            [
                *(sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process"),
                *("-c", PRELUDE + textwrap.dedent(source)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "CHAINHUB_API_KEY": Emulator().api_key,
                "CHAINHUB_BASE_URL": url,
                **variables,
            },
        )
        running.append(Program(process))
        return running[-1]

    yield start
    for program in running:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.in_thread(clock=lambda: 1767607872.5) as running:
        yield running


@pytest.fixture
def hub(emulator: Emulator) -> Iterator[ChainHub]:
    with ChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
        yield hub


def loop_threads() -> list[threading.Thread]:
    """The threads of blocking clients that are not closed."""
    return [thread for thread in threading.enumerate() if thread.name == "chainhub-async"]


def eventually(condition: Callable[[], object], within: float = 10.0) -> bool:
    """Waits for what other threads will do."""
    until = time.monotonic() + within
    while not (done := bool(condition())) and time.monotonic() < until:
        time.sleep(0.005)
    return done


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., bool]:
    return eventually


@pytest.fixture(name="loop_threads")
def _loop_threads() -> Callable[[], list[threading.Thread]]:
    return loop_threads


@pytest.fixture(autouse=True)
def no_thread_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test ends without a thread of a client."""
    yield
    assert eventually(lambda: not loop_threads()), loop_threads()
