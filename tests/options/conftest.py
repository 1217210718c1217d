"""What the tests of options share: a gateway, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chainhub_async import AsyncChainHub
from chainhub_async.testing import Emulator

from .image import KEY


@pytest.fixture
async def emulator(anyio_backend: str) -> AsyncIterator[Emulator]:
    async with Emulator(api_keys=KEY, strict_fields=False) as running:
        yield running


@pytest.fixture
async def hub(emulator: Emulator) -> AsyncIterator[AsyncChainHub]:
    async with AsyncChainHub(KEY, base_url=emulator.base_url) as client:
        yield client
