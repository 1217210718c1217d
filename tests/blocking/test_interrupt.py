"""Ctrl-C, in a process of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import attrs
import pytest

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.faults import Drip, Fault, StopReading

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

Start = Callable[..., Any]


@attrs.frozen
class Watched(Fault):
    """Never answers, and tells when the client has gone."""

    came: threading.Event = attrs.field(factory=threading.Event)
    gone: threading.Event = attrs.field(factory=threading.Event)

    async def act(self, x: Any) -> None:
        self.came.set()
        x.keep_alive = False
        await x.wire.wait_gone()
        self.gone.set()


# Measures how long Ctrl-C takes, and says what its context tells.
MEASURED = """
import traceback
pressed = []

def press(*_):
    pressed.append(time.monotonic())
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, press)

def tell(error):
    assert time.monotonic() - pressed[-1] < 1, time.monotonic() - pressed[-1]
    told = error.__context__
    say(type(told).__name__, told.billed.name, len(told.attempts))
    return told
"""


def test_during_a_paid_call(start: Start) -> None:
    """The connection is closed and the call reported before KeyboardInterrupt is raised."""
    watched = Watched()
    with MisbehavingServer.in_thread() as server:
        server.always(watched)
        server.gets.always(Answer(body=b"{}"))
        program = start(
            MEASURED
            + """
seen = []
hub = ChainHub(on_event=lambda event: seen.append(event))
try:
    hub.ideogram.replace_background(PHOTO)
except KeyboardInterrupt as error:
    told = tell(error)
    say(type(seen[-1]).__name__, seen[-1].billed.name, told.bytes_sent == seen[-1].bytes_sent > 0)
    say(str(told).partition(",")[0])
    # As reports of errors do, with all that the frames hold.
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    say(os.environ["CHAINHUB_API_KEY"] in "".join(report.format()))
say(hub.request("GET", "/free").status)
""",
            server.base_url,
        )
        assert watched.came.wait(20)
        program.interrupt()
        assert watched.gone.wait(10)
        assert program.end() == [
            "CallCancelledError MAYBE 1",
            "CallCancelled MAYBE True",
            "The call was cancelled after the whole request had been sent",
            "False",
            "200",
        ]
        assert sum(server.billed.values()) == 1


def test_during_an_upload(start: Start) -> None:
    """A request that had not left completely was not executed, and the context says so."""
    with MisbehavingServer.in_thread() as server:
        server.always(StopReading(100))
        program = start(
            MEASURED
            + """
from chainhub_async import UploadProgress
import struct, zlib

def png(size):
    body = b"prIv" + os.urandom(size)  # a chunk that decoders skip
    chunk = struct.pack(">I", size) + body + struct.pack(">I", zlib.crc32(body))
    return PHOTO[:-12] + chunk + PHOTO[-12:]

LARGE = png(9_000_000)
hub = ChainHub(on_event=lambda e: isinstance(e, UploadProgress) and say("sending"))
try:
    hub.ideogram.replace_background(LARGE)
except KeyboardInterrupt as error:
    told = tell(error)
    say(0 < told.bytes_sent < len(LARGE), told.attempts[0].phase)
""",
            server.base_url,
        )
        program.wait_for("sending")
        threading.Event().wait(0.2)
        program.interrupt()
        said = [line for line in program.end() if line != "sending"]
        assert said == ["CallCancelledError NO 1", "True write"]
        assert sum(server.billed.values()) == 0


def test_before_it_was_sent(start: Start, emulator: Emulator) -> None:
    """A call that waits for its turn, or to be tried again, has cost nothing."""
    emulator.latency = 60
    program = start(
        MEASURED
        + """
queued = []

def note(event):
    if isinstance(event, RequestQueued):
        queued.append(event)
        if len(queued) == 2:
            say("queueing")

hub = ChainHub(limits=Limits(in_flight=1), on_event=note)
pay = lambda: hub.ideogram.replace_background(PHOTO)
threading.Thread(target=pay, daemon=True).start()
while not queued:
    time.sleep(0.01)
time.sleep(0.3)
try:
    pay()
except KeyboardInterrupt as error:
    tell(error)
""",
        emulator.base_url,
    )
    program.wait_for("queueing")
    threading.Event().wait(0.2)
    program.interrupt()
    assert program.end() == ["CallCancelledError NO 1"]


def test_during_a_wait(start: Start, emulator: Emulator) -> None:
    """What is waited for is paid for, and can be waited for again."""
    emulator.reply = "task"
    emulator.task_polls = 10**6
    program = start(
        MEASURED
        + """
hub = ChainHub()
task = hub.ideogram.replace_background(PHOTO).task
say("waiting")
try:
    hub.wait(task, path=os.environ["TASK_PATH"], interval=0.05)
except KeyboardInterrupt as error:
    tell(error)
""",
        emulator.base_url,
        TASK_PATH=emulator.task_path,
    )
    program.wait_for("waiting")
    threading.Event().wait(0.3)
    program.interrupt()
    assert program.end()[0].startswith("CallCancelledError YES")


def test_during_a_download(start: Start, tmp_path: Path) -> None:
    """No `.part` is left, and nothing under the final name."""
    with MisbehavingServer.in_thread() as server:
        server.gets.always(Drip(part="body", interval=0.05))
        program = start(
            MEASURED
            + """
hub = ChainHub(on_event=lambda event: say(type(event).__name__))
result = hub.ideogram.replace_background(PHOTO)
try:
    hub.save(result, os.environ["FOLDER"])
except KeyboardInterrupt as error:
    tell(error)
    say("interrupted", os.listdir(os.environ["FOLDER"]))
""",
            server.base_url,
            FOLDER=str(tmp_path),
        )
        program.wait_for("DownloadProgress")
        program.interrupt()
        assert program.end()[-2:] == ["CallCancelledError YES 0", "interrupted []"]
    assert list(tmp_path.iterdir()) == []


def test_during_a_batch(start: Start, emulator: Emulator) -> None:
    """Iterating ends at once; the context says that what has been sent may be billed."""
    emulator.latency = 1.0
    program = start(
        MEASURED
        + """
hub = ChainHub(limits=Limits(in_flight=2))
requests = [ReplaceBackground(PHOTO, seed=n) for n in range(9)]
with hub.batch() as batch:
    say("begun")
    try:
        list(batch.run(requests))
    except KeyboardInterrupt as error:
        say(str(tell(error)).partition(";")[0])
say(batch.spent)
""",
        emulator.base_url,
    )
    program.wait_for("begun")
    while sum(emulator.billed.values()) < 2:
        threading.Event().wait(0.01)
    program.interrupt()
    assert program.end() == ["CallCancelledError MAYBE 0", "The batch was interrupted", "2"]


def test_what_was_being_handled_stays(start: Start) -> None:
    """The exception that was being handled stays in the traceback, below what is told."""
    with Emulator.in_thread(latency=60) as emulator:
        program = start(
            """
            hub = ChainHub(on_event=lambda event: say("sent"))
            try:
                try:
                    {}["key"]
                except KeyError:
                    hub.ideogram.replace_background(PHOTO)
            except KeyboardInterrupt as error:
                told = error.__context__
                say(type(told).__name__, type(told.__context__).__name__)
            """,
            emulator.base_url,
        )
        program.wait_for("sent")
        program.interrupt()
        said = [line for line in program.end() if line != "sent"]
        assert said == ["CallCancelledError KeyError"]


def test_uncaught(start: Start) -> None:
    """A script that does not expect it dies of it, soon, and by the signal as scripts do."""
    with Emulator.in_thread(latency=60) as emulator:
        program = start(
            """
            with ChainHub(on_event=lambda event: say("sent")) as hub:
                hub.ideogram.replace_background(PHOTO)
            """,
            emulator.base_url,
        )
        program.wait_for("sent")
        program.interrupt()
        _, err = program.process.communicate(timeout=10)
        assert program.process.returncode in {-2, 130}
        assert err.rstrip().endswith("KeyboardInterrupt")
        assert "chainhub_async.errors.CallCancelledError: The call was cancelled" in err
        assert emulator.api_key not in err
        assert "Warning" not in err


def test_twice(start: Start) -> None:
    """The second Ctrl-C ends the waiting for a clean-up that takes too long."""
    program = start(
        """
        import anyio
        from chainhub_async import loop, portal as module
        loop._LONGEST_EXIT = 0.1

        async def stubborn():
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    say("clearing")
                    await anyio.sleep(60)

        async def nothing(): ...

        portal = module.Portal(nothing)
        portal.run(nothing)
        threading.Timer(0.1, say, ["begun"]).start()
        try:
            portal.run(stubborn)
        except KeyboardInterrupt:
            say("interrupted")
        """
    )
    program.wait_for("begun")
    program.interrupt()
    program.wait_for("clearing")
    program.interrupt()
    assert program.end() == ["interrupted"]


def test_a_signal_handler_that_calls(start: Start) -> None:
    """A handler runs between two steps of any call, and may make calls of its own."""
    with Emulator.in_thread(latency=0.01) as emulator:
        program = start(
            """
            hub, seen = ChainHub(), []
            signal.signal(signal.SIGALRM, lambda *_: seen.append(hub.request("GET", "/v1/models")))
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.02)
            for _ in range(20):
                hub.ideogram.replace_background(PHOTO)
            signal.setitimer(signal.ITIMER_REAL, 0)
            hub.close()
            say(len(seen) > 3)
            """,
            emulator.base_url,
        )
        assert program.end() == ["True"]


@pytest.mark.parametrize("kind", ["Exception", "BaseException", "ChainHubError"])
def test_an_exception_from_a_signal_handler(start: Start, kind: str) -> None:
    """As Celery ends tasks: the call is cancelled, and the exception goes on."""
    watched = Watched()
    with MisbehavingServer.in_thread() as server:
        server.always(watched)
        server.gets.always(Answer(body=b"{}"))
        program = start(
            """
            class TooLong(KIND): ...

            def handler(*_):
                raise TooLong("too long")

            signal.signal(signal.SIGALRM, handler)
            hub = ChainHub()
            hub.request("GET", "/free")
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                hub.ideogram.replace_background(PHOTO)
            except TooLong as error:
                say("ended", error.__context__.billed.name)
            """.replace("KIND", kind),
            server.base_url,
        )
        assert program.end() == ["ended MAYBE"] or watched.came.is_set()
        assert watched.gone.wait(5)


def test_a_call_of_a_signal_handler_is_interrupted(start: Start) -> None:
    """It stands on top of a paid call, which is told of as well, and first."""
    watched = Watched()
    with MisbehavingServer.in_thread() as server:
        server.always(watched)
        server.gets.always(StopReading(after=0))
        program = start(
            """
            hub = ChainHub()

            def handler(*_):
                say("handling")
                hub.request("GET", "/free")

            signal.signal(signal.SIGALRM, handler)
            threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGALRM)).start()
            try:
                hub.ideogram.replace_background(PHOTO)
            except KeyboardInterrupt as error:
                outer = error.__context__
                say(outer.billed.name, outer.__context__.billed.name)
            """,
            server.base_url,
        )
        program.wait_for("handling")
        time.sleep(0.3)
        program.interrupt()
        assert program.end() == ["MAYBE NO"]


SLOW_LOOKUP = """
import socket, anyio, asyncio
real = socket.getaddrinfo

def slow(host, *args, **options):
    if host == "gateway.test":
        say("looking up")
        time.sleep(30)
    return real(host, *args, **options)

socket.getaddrinfo = slow
"""


@pytest.mark.parametrize("way", ["blocking", "close", "exit", "awaited", "download"])
def test_a_name_server_that_does_not_answer(start: Start, way: str) -> None:
    """Nothing waits for the look-up of a name, which cannot be ended."""
    ways = {
        "blocking": """
            hub = ChainHub()
            try:
                hub.ideogram.replace_background(PHOTO)
            except KeyboardInterrupt as error:
                say(error.__context__.billed.name)
                hub.close()
        """,
        "close": """
            hub = ChainHub()
            thread = threading.Thread(target=lambda: hub.request("GET", "/a"))
            threading.excepthook = lambda given: say(given.exc_type.__name__)
            thread.start()
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                hub.close()
                thread.join()
        """,
        "exit": """
            hub = ChainHub()
            threading.Thread(target=lambda: hub.request("GET", "/a"), daemon=True).start()
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                say("exit")
        """,
        "awaited": """
            async def main():
                async with AsyncChainHub() as hub:
                    await hub.ideogram.replace_background(PHOTO)
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                say("ended")
                os._exit(0)  # else Python itself waits for all threads
        """,
        "download": """
            async def main():
                async with AsyncChainHub() as hub:
                    await hub.download("http://gateway.test/a.png", "a.png")
            try:
                asyncio.run(main())
            except KeyboardInterrupt:
                say("ended")
                os._exit(0)  # else Python itself waits for all threads
        """,
    }
    said = {"blocking": "NO", "close": "ClosedError", "exit": "exit"}
    program = start(SLOW_LOOKUP + dedent(ways[way]), "http://gateway.test")
    program.wait_for("looking up")
    time.sleep(0.3)  # a signal just before the event loop waits is noticed after that wait
    program.interrupt()
    assert program.end(within=4.5) == [said.get(way, "ended")]


def test_while_it_closes(start: Start) -> None:
    """The loop goes on to its end, and closing again waits for that, as does the program's end."""
    program = start(
        """
import anyio
from chainhub_async.portal import Portal

told = threading.Event()

async def last():
    os.kill(os.getpid(), signal.SIGINT)
    while not told.is_set():
        await anyio.sleep(0.01)
    await anyio.sleep(0.3)
    say("last")

async def nothing(): pass

portal = Portal(last)
portal.run(nothing)
try:
    portal.close()
except KeyboardInterrupt:
    say("interrupted")
    told.set()
portal.close()
say("closed")
"""
    )
    assert program.end() == ["interrupted", "last", "closed"]


def test_over_and_over(start: Start) -> None:
    """Wherever a call is interrupted, those after it work."""
    program = start(
        """
import anyio
from chainhub_async.portal import Portal

async def nothing(): await anyio.sleep(0)

portal, struck, calling = Portal(nothing), 0, False
portal.run(nothing)

def strike(*_):
    global struck, calling
    if calling:
        calling, struck = False, struck + 1
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, strike)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
until = time.monotonic() + 4
while time.monotonic() < until:
    try:
        try:
            calling = True
            portal.run(nothing)
        finally:
            calling = False
    except KeyboardInterrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
say(struck > 100, portal.run(nothing))
"""
    )
    assert program.end() == ["True None"]


def test_a_signal_handler_that_calls_another_client(start: Start) -> None:
    """Its callbacks may call the client that the signal came upon, in the midst of a call."""
    program = start(
        """
from chainhub_async import portal as module
from chainhub_async.portal import Portal

async def nothing(): pass

first, second = Portal(nothing), Portal(nothing)
first.run(nothing)
second.run(nothing)

async def call_back():
    second.run(nothing)

def handle(*_):
    first.run(call_back)
    say("handled")

signal.signal(signal.SIGINT, handle)
about, main, struck = module.about_to_wait_for, threading.main_thread(), []

def strike_once(loop):
    if threading.current_thread() is main and not struck:
        struck.append(1)
        signal.raise_signal(signal.SIGINT)
    return about(loop)

module.about_to_wait_for = strike_once
second.run(nothing)
say("called")
"""
    )
    assert program.end() == ["handled", "called"]
