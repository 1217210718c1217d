"""The end of the interpreter without `close()`: soon, and without a word."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.faults import Drip, NoAnswer

Start = Callable[..., Any]

ENDINGS = {
    "global": """
        hub = ChainHub()
        say(hub.request("GET", "/v1/models").status)
    """,
    "unused": """
        hub = ChainHub()
        say(200)
    """,
    "in a cycle": """
        class Owner:
            def __init__(self):
                self.me = self
                self.hub = ChainHub(on_event=self.note)
            def note(self, event): ...
        owner = Owner()
        say(owner.hub.request("GET", "/v1/models").status)
    """,
    "held by a module": """
        hub = sys.hub = ChainHub().with_options(timeout=Timeout(total=9))
        say(hub.request("GET", "/v1/models").status)
    """,
    "used at exit": """
        hub = ChainHub()
        hub.request("GET", "/v1/models")
        atexit.register(lambda: say(hub.request("GET", "/v1/models").status))
    """,
    "closed at exit": """
        hub = ChainHub()
        atexit.register(hub.close)
        say(hub.request("GET", "/v1/models").status)
    """,
    "in a thread": """
        def work():
            hub = ChainHub()
            time.sleep(0.2)
            say(hub.request("GET", "/v1/models").status)
        threading.Thread(target=work).start()
    """,
    "sys.exit": """
        hub = ChainHub()
        say(hub.request("GET", "/v1/models").status)
        sys.exit()
    """,
    "in a running loop": """
        import anyio
        hub = ChainHub()
        async def main():
            say(hub.request("GET", "/v1/models").status)
        anyio.run(main)
    """,
    "after saving": """
        hub = ChainHub()
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            say(100 * (1 + len(hub.save(hub.ideogram.replace_background(PHOTO), folder))))
    """,
}


# These two start no thread any more once the main one has ended, though others run
# (https://github.com/python/cpython/issues/113964).
if sys.version_info[:3] in {(3, 12, 0), (3, 12, 1)}:
    del ENDINGS["in a thread"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_close(start: Start, emulator: Emulator, ending: str) -> None:
    """No warning, no traceback, no waiting."""
    assert start(ENDINGS[ending], emulator.base_url).end(within=4.5) == ["200"]


def test_with_a_call_under_way(start: Start) -> None:
    """A call of a daemon thread does not hold the interpreter, and its connection is closed."""
    with MisbehavingServer.in_thread() as server:
        server.always(NoAnswer())
        server.gets.always(Answer(body=b"{}"))
        program = start(
            """
            hub = ChainHub()
            call = lambda: hub.ideogram.replace_background(PHOTO)
            threading.Thread(target=call, daemon=True).start()
            hub.request("GET", "/free")
            time.sleep(0.3)
            say("ending")
            """,
            server.base_url,
        )
        program.wait_for("ending")
        assert program.end(within=4.5) == []
        assert sum(server.billed.values()) == 1


def test_with_a_task_waited_for(start: Start, emulator: Emulator) -> None:
    """Nor does one that merely sleeps."""
    emulator.reply = "task"
    emulator.task_polls = 10**6
    program = start(
        """
        hub = ChainHub()
        task = hub.ideogram.replace_background(PHOTO).task
        wait = lambda: hub.wait(task, path="PATH", interval=500)
        threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.3)
        say("ending")
        """.replace("PATH", emulator.task_path),
        emulator.base_url,
    )
    program.wait_for("ending")
    assert program.end(within=4.5) == []


def test_with_a_download_under_way(start: Start, tmp_path: Path) -> None:
    """A download that is cut off by the end leaves no `.part`."""
    with MisbehavingServer.in_thread() as server:
        server.gets.always(Drip(part="body", interval=0.05))
        program = start(
            """
            seen = []
            hub = ChainHub(on_event=seen.append)
            result = hub.ideogram.replace_background(PHOTO)
            save = lambda: hub.save(result, os.environ["FOLDER"])
            threading.Thread(target=save, daemon=True).start()
            while not any(isinstance(event, DownloadProgress) for event in seen):
                time.sleep(0.01)
            say("ending")
            """,
            server.base_url,
            FOLDER=str(tmp_path),
        )
        program.wait_for("ending")
        assert program.end(within=4.5) == []
    assert list(tmp_path.iterdir()) == []


def test_with_something_that_hangs(start: Start) -> None:
    """What cannot be ended is left behind after a while."""
    program = start(
        """
        import anyio.to_thread
        from chainhub_async import loop, portal as module
        loop._LONGEST_EXIT = 0.3

        async def hang():
            await anyio.to_thread.run_sync(time.sleep, 60)

        async def nothing(): ...

        portal = module.Portal(nothing)
        threading.Thread(target=portal.run, args=[hang], daemon=True).start()
        time.sleep(0.2)
        say("ending")
        """
    )
    program.wait_for("ending")
    assert program.end(within=4.5) == []
