"""Starting and stopping: on the caller's loop, on a thread's, and what is left afterwards."""

from __future__ import annotations

import subprocess
import sys
import time

import aiohttp
import anyio
import attrs
import pytest

import chainhub_async.testing
from chainhub_async.testing import Emulator, EmulatorOptions
from chainhub_async.testing.settings import Settings

from .wire import PATH, PNG, form, get, headers, image_part, post


@pytest.mark.anyio
async def test_on_the_callers_loop() -> None:
    """`async with` serves beside the caller; connections are counted, not requests."""
    async with Emulator(latency=0.05) as emulator, aiohttp.ClientSession() as session:
        assert emulator.connections == 0
        started = time.monotonic()
        for _ in range(2):
            url, body = emulator.base_url + PATH, form(image_part())
            async with session.post(url, data=body, headers=headers(emulator)) as response:
                assert response.status == 200
                assert (await response.json())["data"][0]["is_image_safe"]
        assert time.monotonic() - started >= 0.1
        assert (emulator.connections, len(emulator.requests)) == (1, 2)
    assert (emulator.connections, len(emulator.requests)) == (1, 2)


@pytest.mark.anyio
async def test_many_at_once() -> None:
    """Concurrent calls are each answered and billed, once."""
    statuses: list[int] = []

    async def ask(number: int) -> None:
        body = form(image_part(PNG + bytes([number])))
        async with session.post(url, data=body, headers=headers(emulator)) as response:
            statuses.append(response.status)

    async with Emulator() as emulator, aiohttp.ClientSession() as session:
        url = emulator.base_url + PATH
        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(ask, number)
        assert statuses == [200] * 60
        assert list(emulator.billed.values()) == [1] * 60


@pytest.mark.anyio
async def test_stops_while_a_reply_is_pending() -> None:
    """Stopping does not wait for a latency to pass."""
    started = time.monotonic()
    async with anyio.create_task_group() as tasks, Emulator(latency=30) as emulator:

        async def ask() -> None:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientError):
                    await session.post(
                        emulator.base_url + PATH, data=form(image_part()), headers=headers(emulator)
                    )

        tasks.start_soon(ask)
        with anyio.fail_after(15):
            while not emulator.billed:
                await anyio.sleep(0.01)
    assert time.monotonic() - started < 20


@pytest.mark.anyio
async def test_start_and_stop() -> None:
    """It starts once at a time, stops any number of times, and starts again; records stay."""
    emulator = Emulator()
    await emulator.stop()
    with pytest.raises(RuntimeError, match="is not running"):
        assert emulator.base_url
    await emulator.start()
    with pytest.raises(RuntimeError, match="already running"):
        await emulator.start()
    await anyio.to_thread.run_sync(post, emulator)
    await emulator.stop()
    await emulator.stop()
    await emulator.start()
    assert (emulator.connections, len(emulator.requests)) == (1, 1)
    await emulator.stop()


@pytest.mark.anyio
async def test_a_taken_port_is_an_error() -> None:
    """A port in use is reported as such, and nothing is left open."""
    async with Emulator() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Emulator(port=port).start()


def test_in_a_thread_on_a_given_port() -> None:
    """The port can be chosen, and is free again after the block."""
    with Emulator.in_thread() as emulator:
        port = int(emulator.base_url.rpartition(":")[2])
    with Emulator.in_thread(port=port, host="0.0.0.0") as emulator:
        assert emulator.base_url == f"http://127.0.0.1:{port}"
        assert get(emulator, "/v1/models", Authorization="Bearer emulator-key").status == 200


def test_in_thread_takes_every_option() -> None:
    """`EmulatorOptions` lists exactly the options there are."""
    assert set(EmulatorOptions.__annotations__) == {field.name for field in attrs.fields(Settings)}


def test_exports() -> None:
    """The package offers its names without having imported them, and no others."""
    assert chainhub_async.testing.__all__ == sorted(chainhub_async.testing.__all__)
    assert set(chainhub_async.testing.__all__) <= set(dir(chainhub_async.testing))
    for name in chainhub_async.testing.__all__:
        assert getattr(chainhub_async.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(chainhub_async.testing, "Nothing")  # noqa: B009 - type checkers know that it fails


def test_importing_is_cheap_and_apart_from_the_client() -> None:
    """Neither the package nor its pytest plugin imports aiohttp; the emulator no client code."""
    program = """
import sys
import chainhub_async.testing, chainhub_async.testing.pytest_plugin
assert not {"aiohttp", "attrs", "anyio", "PIL"} & sys.modules.keys()
import chainhub_async.testing.emulator
own = {name for name in sys.modules if name.startswith("chainhub_async")}
package = {"chainhub_async", "chainhub_async._version"}
assert all(name in package or ".testing" in name for name in own), own
assert "PIL" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
