"""What the tests of the wire share: a server that keeps all bytes, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chainhub_async import AsyncChainHub
from chainhub_async.transport import reading

from .capture import Server, capturing

KEY = "sk-wire-0123456789"


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with capturing() as running:
        yield running


@pytest.fixture
async def hub(server: Server) -> AsyncIterator[AsyncChainHub]:
    async with AsyncChainHub(KEY, base_url=server.url) as client:
        yield client


@pytest.fixture
def only_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system cannot be asked for what it has in memory."""
    monkeypatch.setattr(reading, "read_at_once", reading._unsupported)
