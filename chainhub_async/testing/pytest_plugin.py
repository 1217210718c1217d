"""Fixtures for tests of code that uses the package: the emulator, and clients connected to it.

pytest loads this module by its entry point in every run, so nothing but pytest and the standard
library is imported until a fixture is requested.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from chainhub_async import AsyncChainHub, ChainHub
    from chainhub_async.testing import Emulator

__all__ = ["async_chainhub", "chainhub", "chainhub_emulator"]


@pytest.fixture
def chainhub_emulator() -> Generator[Emulator, None, None]:
    """An emulator of the API on a free port, in its own thread, for one test.

    It works in blocking and async tests. Its options are attributes:
    `chainhub_emulator.reply = "task"`.
    """
    from chainhub_async.testing import Emulator

    with Emulator.in_thread() as emulator:
        yield emulator


@pytest.fixture
def chainhub(chainhub_emulator: Emulator) -> Generator[ChainHub, None, None]:
    """A blocking client of `chainhub_emulator`, closed after the test."""
    from chainhub_async import ChainHub

    key, url = chainhub_emulator.api_key, chainhub_emulator.base_url
    with ChainHub(api_key=key, base_url=url) as hub:
        yield hub


@pytest.fixture
def async_chainhub(chainhub_emulator: Emulator) -> AsyncChainHub:
    """An async client of `chainhub_emulator`, closed as the last thing the async test does.

    A plain fixture, because an async one would need the plugin whose event loop runs the test
    (anyio, pytest-asyncio in either mode, ...), and would be torn down by that plugin's rules. A
    client opens nothing before its first call, so it need not be made on the loop; it must only
    be closed there, and the loop ends with the test. So the coroutine of the test itself is
    wrapped: whatever runs it also closes the client.

    In a test that is not a coroutine function - a blocking one that starts its own loop, or one
    wrapped by hypothesis - close the client inside the loop: `async with async_chainhub: ...`.
    """
    from chainhub_async import AsyncChainHub

    return AsyncChainHub(api_key=chainhub_emulator.api_key, base_url=chainhub_emulator.base_url)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Close `async_chainhub` at the end of an async test, on the test's own event loop."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return (yield)
    hub: Any = item.funcargs.get("async_chainhub")
    if hub is None:
        return (yield)
    original = item.obj
    item.obj = _closing(original, hub.aclose)
    try:
        return (yield)
    finally:
        item.obj = original


def _closing(
    test: Callable[..., Awaitable[object]], close: Callable[[], Awaitable[object]]
) -> Callable[..., Awaitable[object]]:
    @functools.wraps(test)
    async def closing(*args: Any, **kwargs: Any) -> None:
        try:
            await test(*args, **kwargs)
        finally:
            await close()

    return closing
