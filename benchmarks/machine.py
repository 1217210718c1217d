"""What a run was measured on: processor, cores, kernel, Python and the versions of the clients."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = [
    "chainhub-async",
    "aiohttp",
    "aiofiles",
    "anyio",
    "attrs",
    "cattrs",
    "yarl",
    "multidict",
    "httpx",
    "openai",
    "pycurl",
    "pyreqwest",
    "requests",
    "urllib3",
    "certifi",
]


def facts() -> dict[str, Any]:
    """Returns what somebody needs to know who wants to repeat a run."""
    return {
        "revision": _revision(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": _processor(),
        "cores": len(cores()),
        "pinned": can_pin(),
        "memory_mb": _memory_mb(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _compiler(),
        "load_before": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def sentence(known: dict[str, Any]) -> str:
    """Returns the facts in two lines."""
    placed = "nothing pinned"
    if known["pinned"]:
        placed = "server and clients pinned to different cores, unless a cell says otherwise"
    versions = ", ".join(f"{name} {found}" for name, found in known["versions"].items())
    return (
        f"{known['date']}, revision {known['revision']}; {known['processor']}, "
        f"{known['cores']} cores, {known['memory_mb']:,} MB, {known['system']}, {known['python']}; "
        f"{placed}.\n{versions}."
    )


def cores() -> list[int]:
    """Returns the cores that this process may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def can_pin() -> bool:
    return sys.platform == "linux" and len(cores()) > 1 and bool(shutil.which("taskset"))


def pinned(core: int) -> list[str]:
    """Returns the words before a command that keep it on one core, so that they share none."""
    if not can_pin():
        return []
    return ["taskset", "-c", str(cores()[core % len(cores())])]


def _revision() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000
    except (AttributeError, ValueError, OSError):
        return None


def _compiler() -> str | None:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.partition("\n")[0]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
