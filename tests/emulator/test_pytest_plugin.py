"""The pytest plugin: its fixtures in blocking and async tests, and under other plugins' loops."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from chainhub_async.testing.placeholder import flat_png

if TYPE_CHECKING:
    from pathlib import Path

    from chainhub_async import AsyncChainHub, ChainHub
    from chainhub_async.testing import Emulator

PHOTO = flat_png((4, 4), "a whole image, unlike those of the other tests")


def test_blocking_client(chainhub: ChainHub, chainhub_emulator: Emulator) -> None:
    """A blocking test gets a client of the emulator."""
    result = chainhub.ideogram.replace_background(PHOTO, prompt="a forest")
    assert result.images[0].url
    assert sum(chainhub_emulator.billed.values()) == 1


@pytest.mark.anyio
async def test_async_client(async_chainhub: AsyncChainHub, chainhub_emulator: Emulator) -> None:
    """An async test gets a client, which opens nothing before it is used."""
    assert chainhub_emulator.connections == 0
    result = await async_chainhub.ideogram.replace_background(PHOTO, prompt="a forest")
    assert result.images[0].url
    assert sum(chainhub_emulator.billed.values()) == 1


def test_async_client_in_a_blocking_test(async_chainhub: AsyncChainHub) -> None:
    """A test with a loop of its own closes the client itself."""

    async def use() -> None:
        async with async_chainhub as hub:
            await hub.ideogram.replace_background(PHOTO)

    anyio.run(use)


INNER = f"""
import pytest

async def use(hub):
    await hub.ideogram.replace_background({PHOTO!r})

class TestGroup:
    @pytest.mark.MARK
    async def test_method(self, async_chainhub):
        await use(async_chainhub)

@pytest.mark.MARK
@pytest.mark.parametrize("n", [1, 2])
async def test_function(n, async_chainhub):
    await use(async_chainhub)

@pytest.mark.MARK
@pytest.mark.xfail(strict=True, raises=ZeroDivisionError)
async def test_failure(async_chainhub):
    await use(async_chainhub)
    raise ZeroDivisionError

def test_unused(async_chainhub):
    pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("marker", ["anyio", "asyncio"])
def test_nothing_is_left_open(tmp_path: Path, marker: str) -> None:
    """Whatever runs the coroutine, the client is closed on its loop: no warning is emitted."""
    backend = "import pytest\n@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n"
    (tmp_path / "conftest.py").write_text(backend)
    # Without it pytest-asyncio warns in every run, whichever plugin runs the tests.
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
    )
    (tmp_path / "test_inner.py").write_text(INNER.replace("MARK", marker))
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "pytest", "-q", "-W", "error", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed, 1 xfailed" in run.stdout, run.stdout + run.stderr
