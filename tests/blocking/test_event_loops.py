"""One AsyncChainHub and several event loops: it works or says why not, and never at the end."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from chainhub_async import AsyncChainHub, ChainHub, ClosedError, ReplaceBackground
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer

from .conftest import PHOTO

Start = Callable[..., Any]

# Each ends without a word: no warning, no "Event loop is closed", no "Unclosed client session".
PROGRAMS = {
    "never closed": """
        async def main():
            say(await ask(hub))
        asyncio.run(main())
    """,
    "one after another": """
        for _ in range(3):
            asyncio.run(use())
    """,
    "one after another, closed at last": """
        for _ in range(3):
            asyncio.run(use())
        asyncio.run(hub.aclose())
        try:
            asyncio.run(use())
        except ClosedError as error:
            say(error)
    """,
    "a new client each time": """
        async def main():
            say(await ask(AsyncChainHub(ssl_context=context)))
            gc.collect()
            await asyncio.sleep(0.05)
        for _ in range(3):
            asyncio.run(main())
    """,
    "dropped while the loop runs": """
        async def main():
            global hub
            say(await ask(hub))
            del hub
            gc.collect()
            await asyncio.sleep(0.1)
            say("goes on")
        asyncio.run(main())
    """,
    "in threads at once": """
        said, together = [], threading.Barrier(8)

        async def main():
            together.wait()
            try:
                said.append(await ask(hub))
            except ClosedError as error:
                said.append(str(error))
            await asyncio.to_thread(together.wait)

        threads = [threading.Thread(target=asyncio.run, args=[main()]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = "The client is in use on another event loop; create one client for each loop."
        say(said.count(200), said.count(told))
        asyncio.run(use())
    """,
    "in threads, one after another": """
        for _ in range(3):
            thread = threading.Thread(target=asyncio.run, args=[use()])
            thread.start()
            thread.join()
    """,
    "closed on another loop": """
        async def main():
            say(await ask(hub))
            def other():
                try:
                    asyncio.run(hub.aclose())
                except ClosedError as error:
                    say(error)
            await asyncio.to_thread(other)
            say(await ask(hub))
            await hub.aclose()
        asyncio.run(main())
    """,
    "a broken run before": """
        async def broken():
            say(await ask(hub))
            raise KeyError("broken")
        try:
            asyncio.run(broken())
        except KeyError:
            asyncio.run(use())
    """,
    "calls left behind": """
        async def main():
            for _ in range(3):
                asyncio.create_task(hub.ideogram.replace_background(PHOTO)).add_done_callback(
                    lambda task: task.cancelled()
                )
            await asyncio.sleep(0.1)
            say(await ask(hub))
        asyncio.run(main())
    """,
    "a loop closed by hand": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(use())
        loop.close()
    """,
    "a client dropped before its loop is closed by hand": """
        warnings.simplefilter("ignore")  # asyncio's own, of connections that a closed loop leaves
        def main():
            hub = AsyncChainHub(ssl_context=context)
            return ask(hub)
        loop = asyncio.new_event_loop()
        say(loop.run_until_complete(main()))
        gc.collect()
        loop.close()
        gc.collect()
        asyncio.run(use())
    """,
    "a client of its own for each loop closed by hand": """
        warnings.simplefilter("ignore")  # see above
        async def main():
            hub = AsyncChainHub(ssl_context=context)
            say(await ask(hub))
        before = len(os.listdir("/dev/fd"))
        for _ in range(5):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
        asyncio.run(use())
        gc.collect()
        say(len(os.listdir("/dev/fd")) - before)
    """,
    "a client dropped between two runs of a loop": """
        def main():
            hub = AsyncChainHub(ssl_context=context)
            return ask(hub)
        loop = asyncio.new_event_loop()
        say(loop.run_until_complete(main()))
        gc.collect()
        loop.run_until_complete(asyncio.sleep(0.5))
        from chainhub_async.transport import pool
        say(len(pool._guards))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    """,
    "a client dropped, and its loop left open": """
        def main():
            hub = AsyncChainHub(ssl_context=context)
            return ask(hub)
        loop = asyncio.new_event_loop()
        atexit.register(loop.close)
        say(loop.run_until_complete(main()))
        gc.collect()
    """,
    "one client, and loops closed by hand": """
        warnings.simplefilter("ignore")  # see above
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(use())
            loop.close()
    """,
    "loops are free when they are over": """
        import weakref
        loops = []
        async def upload():
            loops.append(weakref.ref(asyncio.get_running_loop()))
            await hub.request("POST", "/v1/models", form={"a": "b"}, images=0)
        for _ in range(3):
            try:
                asyncio.run(upload())
            except ChainHubError:
                pass
        asyncio.run(use())
        gc.collect()
        say([loop() for loop in loops])
    """,
    "closed, and its loop left open": """
        async def main():
            async with AsyncChainHub(ssl_context=context) as hub:
                say(await ask(hub))
        loop = asyncio.new_event_loop()
        atexit.register(loop.close)
        loop.run_until_complete(main())
        from chainhub_async.transport import pool
        say(len(pool._guards))
    """,
    "a loop left open": """
        loop = asyncio.new_event_loop()
        atexit.register(loop.close)
        loop.run_until_complete(use())
    """,
    "a blocking client beside it": """
        async def main():
            say(await ask(hub), ChainHub(ssl_context=context).request("GET", "/v1/models").status)
        asyncio.run(main())
    """,
}
BEFORE = """
import asyncio, ssl, warnings
certificate = os.environ.get("CA")
context = ssl.create_default_context(cafile=certificate) if certificate else None
hub = AsyncChainHub(ssl_context=context)

async def ask(hub):
    return (await hub.request("GET", "/v1/models")).status

async def use():
    say(await ask(hub))
"""
SAID = {
    "one after another": ["200"] * 3,
    "one after another, closed at last": ["200"] * 3 + ["The client is closed; create a new one."],
    "a new client each time": ["200"] * 3,
    "dropped while the loop runs": ["200", "goes on"],
    "in threads at once": ["1 7", "200"],
    "in threads, one after another": ["200"] * 3,
    "closed on another loop": [
        *("200", "The client is in use on another event loop; close it there.", "200")
    ],
    "a client dropped before its loop is closed by hand": ["200", "200"],
    "a client of its own for each loop closed by hand": [*["200"] * 6, "0"],
    "a client dropped between two runs of a loop": ["200", "0"],
    "one client, and loops closed by hand": ["200"] * 3,
    "loops are free when they are over": ["200", "[None, None, None]"],
    "closed, and its loop left open": ["200", "0"],
    "a broken run before": ["200", "200"],
    "a blocking client beside it": ["200 200"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_plain(name: str, start: Start, emulator: Emulator) -> None:
    """Without TLS."""
    from textwrap import dedent

    program = start(BEFORE + dedent(PROGRAMS[name]), emulator.base_url)
    assert program.end() == SAID.get(name, ["200"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_tls(name: str, start: Start, tmp_path: Path) -> None:
    """With TLS, whose connections take more than one step to close."""
    if sys.version_info < (3, 11) and "closed by hand" in name:
        pytest.skip("asyncio of 3.10 complains of every TLS connection that a closed loop leaves")
    from textwrap import dedent

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with MisbehavingServer.in_thread(ssl_context=context) as server:
        server.gets.always(Answer(body=b"{}"))
        program = start(
            BEFORE + dedent(PROGRAMS[name]), server.base_url, CA=str(tmp_path / "ca.pem")
        )
        assert program.end() == SAID.get(name, ["200"])


# --- trio -------------------------------------------------------------------------------------


def trio_calls(hub: AsyncChainHub) -> dict[str, Callable[[], Any]]:
    """Every way to begin."""

    async def enter() -> None:
        async with hub:
            pass

    async def batch() -> None:
        async with hub.batch() as opened:
            async for _ in opened.run([ReplaceBackground(PHOTO)]):
                pass

    return {
        "paid": lambda: hub.ideogram.replace_background(PHOTO),
        "file": lambda: hub.ideogram.replace_background(__file__),
        "request": lambda: hub.request("GET", "/v1/models"),
        "download": lambda: hub.download("http://127.0.0.1:9/a.png", "a.png"),
        "enter": enter,
        "batch": batch,
    }


@pytest.mark.parametrize("name", trio_calls(AsyncChainHub("key")))
def test_under_trio(name: str) -> None:
    """A trio caller is told why not, and what to do."""
    trio = pytest.importorskip("trio")
    hub = AsyncChainHub("key", base_url="http://127.0.0.1:9")
    with pytest.raises(ClosedError, match=r"works on asyncio only.*trio\.to_thread"):
        trio.run(trio_calls(hub)[name])


def test_a_plan_under_trio() -> None:
    """It sends nothing, and so needs no asyncio."""
    trio = pytest.importorskip("trio")
    hub = AsyncChainHub("key", base_url="http://127.0.0.1:9")

    async def main() -> list[str]:
        inputs = [ReplaceBackground(PHOTO), ReplaceBackground(__file__)]
        return [str(planned.action) async for planned in hub.batch().plan(inputs)]

    assert trio.run(main) == ["SEND", "REFUSE"]


def test_what_trio_callers_are_told_works(emulator: Emulator) -> None:
    """The blocking client serves them, many at once."""
    trio = pytest.importorskip("trio")
    seeds: list[int | None] = []

    async def main(hub: ChainHub) -> None:
        async def one(seed: int) -> None:
            result = await trio.to_thread.run_sync(
                lambda: hub.ideogram.replace_background(PHOTO, seed=seed)
            )
            seeds.append(result.images[0].seed)

        async with trio.open_nursery() as nursery:
            for seed in range(5):
                nursery.start_soon(one, seed)

    with ChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
        trio.run(main, hub)
    assert sorted(seeds, key=str) == [0, 1, 2, 3, 4]
