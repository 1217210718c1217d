"""What the tests of the awaited client share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from chainhub_async import AsyncChainHub, RetryPolicy
from chainhub_async.testing import Emulator, MisbehavingServer


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.in_thread() as running:
        yield running


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer.in_thread() as running:
        yield running


@pytest.fixture
async def hub(emulator: Emulator, anyio_backend: str) -> AsyncIterator[AsyncChainHub]:
    """A client of the emulator."""
    async with AsyncChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
        yield hub


@pytest.fixture
async def tried(server: MisbehavingServer, anyio_backend: str) -> AsyncIterator[AsyncChainHub]:
    """A client of the misbehaving server, quick to resend."""
    retry = RetryPolicy(base_delay=0.01, max_delay=0.02)
    async with AsyncChainHub("key", base_url=server.base_url, retry=retry) as hub:
        yield hub
