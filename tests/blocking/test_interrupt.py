"""Ctrl-C, in a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.faults import Drip, Fault

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

Start = Callable[..., Any]
Eventually = Callable[..., bool]


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


def test_during_a_paid_call(start: Start) -> None:
    """The connection is closed and the call reported before KeyboardInterrupt is raised."""
    watched = Watched()
    with MisbehavingServer.in_thread() as server:
        server.always(watched)
        server.gets.always(Answer(body=b"{}"))
        program = start(
            """
            seen = []
            hub = ChainHub(on_event=lambda event: seen.append(event))
            try:
                hub.ideogram.replace_background(PHOTO)
            except KeyboardInterrupt as error:
                say(type(seen[-1]).__name__, seen[-1].billed.name, repr(error.__context__))
            say(hub.request("GET", "/free").status)
            """,
            server.base_url,
        )
        assert watched.came.wait(20)
        program.interrupt()
        assert watched.gone.wait(10)
        assert program.end(within=5) == ["CallCancelled MAYBE None", "200"]
        assert sum(server.billed.values()) == 1


def test_during_a_download(start: Start, tmp_path: Path, eventually: Eventually) -> None:
    """No `.part` is left, and nothing under the final name."""
    with MisbehavingServer.in_thread() as server:
        server.gets.always(Drip(part="body", interval=0.05))
        program = start(
            """
            hub = ChainHub()
            result = hub.ideogram.replace_background(PHOTO)
            try:
                hub.save(result, sys.argv[-1] if 0 else os.environ["FOLDER"])
            except KeyboardInterrupt:
                say("interrupted", os.listdir(os.environ["FOLDER"]))
            """,
            server.base_url,
            FOLDER=str(tmp_path),
        )
        assert eventually(lambda: list(tmp_path.iterdir()), within=20)
        program.interrupt()
        assert program.end(within=5) == ["interrupted []"]
    assert list(tmp_path.iterdir()) == []


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
        assert "Warning" not in err


def test_twice(start: Start) -> None:
    """The second Ctrl-C ends the waiting for a clean-up that takes too long."""
    program = start(
        """
        import anyio
        from chainhub_async import portal as module
        module._LONGEST_EXIT = 0.1

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
    assert program.end(within=5) == ["interrupted"]


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


def test_an_exception_from_a_signal_handler(start: Start) -> None:
    """As Celery ends tasks: the call is cancelled, and the exception goes on."""
    watched = Watched()
    with MisbehavingServer.in_thread() as server:
        server.always(watched)
        server.gets.always(Answer(body=b"{}"))
        program = start(
            """
            class TooLong(Exception): ...

            def handler(*_):
                raise TooLong

            signal.signal(signal.SIGALRM, handler)
            hub = ChainHub()
            hub.request("GET", "/free")
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                hub.ideogram.replace_background(PHOTO)
            except TooLong:
                say("ended")
            """,
            server.base_url,
        )
        assert program.end(within=5) == ["ended"] or watched.came.is_set()
        assert watched.gone.wait(5)
