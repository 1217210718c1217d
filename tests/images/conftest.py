"""What the tests of images share: a gateway that counts connections, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from chainhub_async import AsyncChainHub
from chainhub_async.testing import Emulator


@pytest.fixture
async def emulator(anyio_backend: str) -> AsyncIterator[Emulator]:
    async with Emulator() as running:
        yield running


@pytest.fixture
async def hub(emulator: Emulator) -> AsyncIterator[AsyncChainHub]:
    async with AsyncChainHub(emulator.api_key, base_url=emulator.base_url) as client:
        yield client


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack
