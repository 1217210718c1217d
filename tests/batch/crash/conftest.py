"""The library that lets file operations fail, and stages to play scenes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.name != "posix":
    collect_ignore_glob = ["test_*.py"]  # no kill -9, no fork

from .processes import Driver
from .scene import Stage, stage_with
from .sweep import Stages


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("failing file operations needs Linux and a C compiler (cc)")
    built = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"cc cannot build faults.c here: {ended.stderr[:500]}")
    return built


@pytest.fixture(scope="package", autouse=True)
def _no_painter() -> Iterator[None]:
    """Results of one colour, which say what they were made of, as without Pillow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainhub_async.testing.gallery._painter", lambda: None)
        yield


@pytest.fixture(scope="session")
def stages(library: Path) -> Iterator[Stages]:
    """Stages where file operations can fail."""
    with Stages(library, 3) as opened:
        yield opened


@pytest.fixture(scope="session")
def plain_driver() -> Iterator[Driver]:
    """A process to fork from, whose file operations do not fail."""
    driver = Driver()
    yield driver
    driver.close()


@pytest.fixture
def plain_stage(plain_driver: Driver) -> Iterator[Stage]:
    """A stage where nothing fails by itself."""
    with stage_with(plain_driver) as opened:
        yield opened
