"""The awaited client: cheap to build, bound to one loop, closed once and for all."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from chainhub_async import (
    AsyncChainHub,
    AuthenticationError,
    Billed,
    ChainHub,
    ChainHubError,
    ClosedError,
    ConfigurationError,
    Limits,
    RetryPolicy,
    Timeout,
)
from chainhub_async.events import Event, RequestQueued
from chainhub_async.testing import Emulator
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((8, 8), "client")
BOTH = pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
Kind = Callable[..., Any]


async def eventually(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.01)


# --- building ---------------------------------------------------------------------------------


@BOTH
def test_no_key(kind: Kind) -> None:
    """Without a key it is refused at once, naming the variable to set."""
    with pytest.raises(ConfigurationError, match="CHAINHUB_API_KEY"):
        kind()
    with pytest.raises(ConfigurationError, match="CHAINHUB_API_KEY"):
        kind(" ")


@BOTH
def test_the_environment(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and address come from the environment, read when the client is built."""
    monkeypatch.setenv("CHAINHUB_API_KEY", "key-of-the-environment")
    monkeypatch.setenv("CHAINHUB_BASE_URL", "http://127.0.0.1:9/")
    hub = kind()
    assert repr(hub) == f"{kind.__name__}(base_url='http://127.0.0.1:9')"
    assert "9" not in repr(kind(base_url="http://localhost:8"))


@BOTH
def test_the_default_address(kind: Kind) -> None:
    """Without an address it is the gateway's own."""
    assert "'https://api.chainhub.tech'" in repr(kind("key"))


@BOTH
def test_building_is_cheap(kind: Kind) -> None:
    """A thousand clients start nothing, leave nothing open, and take no time to speak of."""
    threads = threading.active_count()
    began = time.process_time()
    for _ in range(1000):
        kind("key")
    assert time.process_time() - began < 1
    assert threading.active_count() == threads
    gc.collect()


@BOTH
@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"retry": 3}, "RetryPolicy"),
        ({"timeout": 30}, "Timeout"),
        ({"limits": 5}, "Limits"),
        ({"on_event": "print"}, "function"),
        ({"base_url": "api.chainhub.tech"}, "http://"),
        ({"proxy": "socks5://127.0.0.1"}, "proxy"),
        ({"ssl_context": True}, "SSLContext"),
    ],
)
def test_a_bad_setting(kind: Kind, options: dict[str, Any], word: str) -> None:
    """It is refused when the client is built, in a sentence that names what is allowed."""
    with pytest.raises(ConfigurationError, match=word):
        kind("key", **options)


def test_it_does_not_pickle() -> None:
    """A client stays where it was built, and so does its key."""
    with pytest.raises(TypeError, match="create the client where it is used"):
        pickle.dumps(AsyncChainHub("key"))


# --- lifetime ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_without_async_with(emulator: Emulator) -> None:
    """The first call opens what it needs; `aclose` ends it, twice as well as once."""
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url)
    assert (await hub.ideogram.replace_background(PHOTO)).images
    await hub.aclose()
    await hub.aclose()
    for call in (hub.request("GET", "/v1/models"), hub.ideogram.replace_background(PHOTO)):
        with pytest.raises(ClosedError, match="closed; create a new one"):
            await call
    with pytest.raises(ClosedError):
        async with hub:
            pass


@pytest.mark.anyio
async def test_closed_before_it_was_used(emulator: Emulator) -> None:
    """Closing is final, used or not."""
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url)
    await hub.aclose()
    with pytest.raises(ClosedError):
        await hub.request("GET", "/v1/models")
    assert emulator.connections == 0


@pytest.mark.anyio
async def test_connections_are_kept(hub: AsyncChainHub, emulator: Emulator) -> None:
    """Calls one after the other share a connection."""
    for _ in range(5):
        await hub.ideogram.replace_background(PHOTO)
        await hub.request("GET", "/v1/models")
    assert emulator.connections == 1


@pytest.mark.anyio
async def test_closing_ends_calls_under_way(emulator: Emulator) -> None:
    """They fail at once, whatever they wait for, and say what they may have cost."""
    emulator.latency = 60
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url, limits=Limits(in_flight=1))
    came: dict[str, ChainHubError] = {}

    async def call(name: str) -> None:
        try:
            await hub.ideogram.replace_background(PHOTO)
        except ChainHubError as error:
            came[name] = error

    async with anyio.create_task_group() as group:
        group.start_soon(call, "sent")
        await eventually(lambda: emulator.billed)
        group.start_soon(call, "queued")
        await anyio.sleep(0.05)
        with anyio.fail_after(20):
            await hub.aclose()
            await eventually(lambda: len(came) == 2)
    assert came["sent"].billed is Billed.MAYBE
    assert came["queued"].billed is Billed.NO
    assert isinstance(came["queued"], ClosedError)


@pytest.mark.anyio
async def test_closing_ends_though_cancelled(emulator: Emulator) -> None:
    """A cancelled caller still closes: nothing is left open."""
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url)
    await hub.request("GET", "/v1/models")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await hub.aclose()
    with pytest.raises(ClosedError):
        await hub.request("GET", "/v1/models")
    gc.collect()


# --- a borrowed session -----------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_borrowed_session(emulator: Emulator) -> None:
    """Its connections are used; its headers and cookies are not; it is not closed."""
    async with aiohttp.ClientSession(
        headers={"X-Theirs": "1", "Authorization": "theirs"}, cookies={"theirs": "1"}
    ) as session:
        async with AsyncChainHub(
            emulator.api_key, base_url=emulator.base_url, session=session
        ) as hub:
            assert (await hub.ideogram.replace_background(PHOTO)).images
            assert len(session.connector._conns) == 1  # type: ignore[union-attr]  # asks aiohttp for its pool
        assert not session.closed
        async with session.get(
            f"{emulator.base_url}/v1/models",
            headers={
                "Authorization": f"Bearer {emulator.api_key}",
                "Accept": "application/json",
            },
        ) as answer:
            assert answer.status == 200
    first = emulator.requests[0]
    assert first.values("X-Theirs") == first.values("Cookie") == []
    assert first.values("Authorization") == [f"Bearer {emulator.api_key}"]


@pytest.mark.anyio
async def test_a_borrowed_session_that_is_closed(emulator: Emulator) -> None:
    """It is told so, before anything is sent."""
    session = aiohttp.ClientSession()
    await session.close()
    async with AsyncChainHub("key", base_url=emulator.base_url, session=session) as hub:
        with pytest.raises(ChainHubError, match="closed") as caught:
            await hub.ideogram.replace_background(PHOTO)
    assert caught.value.billed is Billed.NO
    assert emulator.connections == 0


# --- with_options -----------------------------------------------------------------------------


@pytest.mark.anyio
async def test_derived_clients_share(hub: AsyncChainHub, emulator: Emulator) -> None:
    """Connections are shared, and settings are not."""
    seen: list[Event] = []
    derived = hub.with_options(on_event=seen.append, timeout=Timeout(total=60))
    await hub.ideogram.replace_background(PHOTO)
    assert seen == []
    await derived.ideogram.replace_background(PHOTO)
    assert isinstance(seen[0], RequestQueued)
    assert emulator.connections == 1
    with pytest.raises(AuthenticationError):
        await derived.with_options(api_key="another").request("GET", "/v1/models")
    assert (await hub.request("GET", "/v1/models")).status == 200


@pytest.mark.anyio
async def test_derived_clients_share_the_gate(emulator: Emulator) -> None:
    """What is in flight is counted for all together."""
    emulator.latency = 0.05
    emulator.in_flight = 2
    async with AsyncChainHub(
        emulator.api_key, base_url=emulator.base_url, limits=Limits(in_flight=2)
    ) as hub:
        clients = [hub, hub.with_options(retry=RetryPolicy(max_attempts=1))] * 4
        async with anyio.create_task_group() as group:
            for client in clients:
                group.start_soon(client.ideogram.replace_background, PHOTO)
    assert [record.status for record in emulator.requests] == [200] * 8


@pytest.mark.anyio
@pytest.mark.parametrize("closed", [0, 1])
async def test_derived_clients_close_together(emulator: Emulator, closed: int) -> None:
    """Whichever is closed, the connections they share are."""
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url)
    pair = [hub, hub.with_options(timeout=Timeout(total=60))]
    await pair[0].request("GET", "/v1/models")
    await pair[closed].aclose()
    for each in pair:
        with pytest.raises(ClosedError):
            await each.request("GET", "/v1/models")


@BOTH
@pytest.mark.parametrize("name", ["limits", "ssl_context", "session", "timeouts"])
def test_what_cannot_be_changed(kind: Kind, name: str) -> None:
    """It is refused by name, with what can be changed."""
    with pytest.raises(ConfigurationError, match=f"change {name}; it can change api_key, base_url"):
        kind("key").with_options(**{name: None})
    with pytest.raises(ConfigurationError, match="Timeout"):
        kind("key").with_options(timeout=5)
    with pytest.raises(ConfigurationError, match="RetryPolicy"):
        kind("key").with_options(retry=5)


def test_derived_from_a_subclass() -> None:
    """A subclass stays one, and keeps what it does not set up again."""

    class Mine(AsyncChainHub):
        pass

    derived = Mine("key", base_url="http://127.0.0.1:9").with_options(api_key="other")
    assert type(derived) is Mine
    assert repr(derived) == "Mine(base_url='http://127.0.0.1:9')"


# --- event loops ------------------------------------------------------------------------------


def test_one_global_client_in_two_runs(emulator: Emulator) -> None:
    """As scripts and notebooks do: `asyncio.run` twice, without closing in between."""

    async def use(hub: AsyncChainHub) -> None:
        assert (await hub.ideogram.replace_background(PHOTO)).images

    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url)
    with warnings.catch_warnings():
        # A loop that ends before the client is closed leaves its connections to the collector,
        # and asyncio says so, whenever that may be.
        warnings.simplefilter("ignore", ResourceWarning)
        anyio.run(use, hub)
        anyio.run(use, hub)
        anyio.run(hub.aclose)
        assert emulator.connections == 2
        del hub
        gc.collect()


def test_interrupted_run_and_another(emulator: Emulator) -> None:
    """A run that ended in the middle of a call leaves a client that works in the next."""
    emulator.latency = 60
    hub = AsyncChainHub(emulator.api_key, base_url=emulator.base_url, limits=Limits(in_flight=1))

    async def broken() -> None:
        with anyio.move_on_after(0.2):
            await hub.ideogram.replace_background(PHOTO)

    async def use() -> None:
        emulator.latency = 0
        assert (await hub.ideogram.replace_background(PHOTO)).images
        await hub.aclose()

    anyio.run(broken)
    anyio.run(use)
    gc.collect()


@pytest.mark.anyio
async def test_two_loops_at_once(hub: AsyncChainHub) -> None:
    """A client in use on one loop is refused on another that runs beside it."""
    await hub.request("GET", "/v1/models")

    async def elsewhere() -> None:
        with pytest.raises(
            ClosedError, match="another event loop; create one client for each loop"
        ):
            await hub.request("GET", "/v1/models")
        with pytest.raises(ClosedError):
            await hub.ideogram.replace_background(PHOTO)
        with pytest.raises(ClosedError):
            async with hub:
                pass

    await anyio.to_thread.run_sync(anyio.run, elsewhere)
    assert (await hub.request("GET", "/v1/models")).status == 200
