"""What the emulator's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chainhub_async.testing import Emulator

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture
def anyio_backend() -> str:
    """The only backend: aiohttp needs asyncio."""
    return "asyncio"


@pytest.fixture
def emulator() -> Generator[Emulator, None, None]:
    """An emulator in a thread; a test changes its options by setting attributes."""
    with Emulator.in_thread(clock=lambda: 1767607872.123456789) as running:
        yield running
