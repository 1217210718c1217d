"""The fixtures of the pytest plugin in somebody else's tests."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

TESTS = """
import pytest
from chainhub_async.testing.placeholder import flat_png

PHOTO = flat_png((4, 4), "theirs")

def test_blocking(chainhub, chainhub_emulator, tmp_path):
    result = chainhub.ideogram.replace_background(PHOTO, prompt="a forest")
    assert chainhub.save(result, tmp_path)
    assert sum(chainhub_emulator.billed.values()) == 1

def test_left_open_by_an_error(chainhub, chainhub_emulator):
    chainhub_emulator.api_keys = ("another",)
    with pytest.raises(Exception, match="401"):
        chainhub.ideogram.replace_background(PHOTO)

@pytest.mark.anyio
async def test_awaited(async_chainhub, chainhub_emulator):
    chainhub_emulator.reply = "task"
    result = await async_chainhub.ideogram.replace_background(PHOTO)
    done = await async_chainhub.wait(result.task, path=chainhub_emulator.task_path, interval=0.01)
    assert done.images

@pytest.mark.anyio
async def test_both(async_chainhub, chainhub):
    assert await async_chainhub.ideogram.replace_background(PHOTO)
    assert chainhub.ideogram.replace_background(PHOTO)

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_their_tests_pass(tmp_path: Path) -> None:
    """Blocking and awaited, with every warning an error, and nothing is left open."""
    # Without it pytest-asyncio, where installed, warns in every run.
    scope = "asyncio_default_fixture_loop_scope = function" if find_spec("pytest_asyncio") else ""
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{scope}\n")
    (tmp_path / "test_theirs.py").write_text(TESTS)
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "pytest", "-q", "-W", "error", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "4 passed" in run.stdout, run.stdout + run.stderr
    assert run.stderr == ""
