"""What can be imported, and what importing it costs."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chainhub_async
from chainhub_async import _version

# Where public classes live, and those among them that are not for callers.
MODULES = {
    "errors": set[str](),
    "events": set[str](),
    "models": set[str](),
    "config": {"ClientConfig", "Secret"},
    "file_objects": {"FileBehind"},
    "images": set[str](),
    "batch.blocking": set[str](),
    "batch.front": set[str](),
    "batch.jobs": set[str](),
    "client": set[str](),
    "sync": {"Ideogram"},
}
HEAVY = ("aiohttp", "attr", "attrs", "cattrs", "anyio", "aiofiles", "asyncio", "ssl", "sqlite3")


def test_all_is_sorted_and_without_doubles() -> None:
    """As sorted() sorts."""
    assert chainhub_async.__all__ == sorted(set(chainhub_async.__all__))


@pytest.mark.parametrize("name", chainhub_async.__all__)
def test_every_name_can_be_imported(name: str) -> None:
    """From the package, as itself."""
    value = getattr(chainhub_async, name)
    assert value is getattr(chainhub_async, name)
    if inspect.isclass(value):
        assert value.__name__ == name


@pytest.mark.parametrize("module", MODULES)
def test_every_public_class_is_exported(module: str) -> None:
    """A class one can meet can be named."""
    found = importlib.import_module(f"chainhub_async.{module}")
    public = {
        name
        for name, value in inspect.getmembers(found, inspect.isclass)
        if value.__module__ == found.__name__ and not name.startswith("_")
    }
    assert public - MODULES[module] <= set(chainhub_async.__all__)
    assert public >= MODULES[module]


def test_dir_lists_what_there_is() -> None:
    """Also what has not been loaded yet."""
    assert set(chainhub_async.__all__) <= set(dir(chainhub_async))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """With the usual words."""
    with pytest.raises(AttributeError, match="module 'chainhub_async' has no attribute 'Nothing'"):
        _ = chainhub_async.Nothing


def test_importing_the_package_loads_nothing_else() -> None:
    """A command line answers at once; what is used is loaded when it is used."""
    script = (
        "import sys; before = set(sys.modules); import chainhub_async; dir(chainhub_async);"
        f"print(sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["ConfigurationError", "Billed", "Timeout", "Task", "RetryPolicy"])
def test_values_do_not_load_the_network(name: str) -> None:
    """What only holds data needs no aiohttp."""
    script = f"import sys; from chainhub_async import {name}; print('aiohttp' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "False"


def test_version_and_changelog_agree() -> None:
    """The newest release in CHANGELOG.md is this one."""
    changelog = Path(__file__).parents[2] / "CHANGELOG.md"
    releases = re.findall(r"^## \[?(\d[^\]\s]*)", changelog.read_text("utf-8"), re.MULTILINE)
    assert releases[0] == chainhub_async.__version__ == _version.__version__


def test_the_package_is_typed() -> None:
    """PEP 561."""
    assert (Path(chainhub_async.__file__).parent / "py.typed").is_file()
