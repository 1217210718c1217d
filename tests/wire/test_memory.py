"""Memory does not grow with the size of what is uploaded from disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from .capture import Server, capturing, png

pytestmark = pytest.mark.anyio

UPLOADER = str(Path(__file__).with_name("uploader.py"))
MIB = 1024


async def _peaks(server: Server, small: Path, image: Path, calls: int) -> tuple[int, int]:
    """Peak KiB of a process of its own, after small uploads and after those of `image`."""
    command = [sys.executable, UPLOADER, server.url, str(small), str(image), str(calls)]
    done = await anyio.run_process(command, stderr=subprocess.PIPE)
    before, after = done.stdout.split()
    assert all(request.whole for request in server.requests)
    assert len(server.requests) == 2 * calls
    server.requests.clear()
    return int(before), int(after)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    small.write_bytes(png(bytes(10_000)))
    large.write_bytes(png(bytes(10_000_000)))
    return small, large


async def test_ten_megabytes_need_no_more_memory_than_ten_kilobytes(
    files: tuple[Path, Path],
) -> None:
    """Two processes, one that uploads 10 KB and one that uploads 10 MB, peak within 4 MiB."""
    small, large = files
    async with capturing() as server:
        _, little = await _peaks(server, small, small, 1)
        _, much = await _peaks(server, small, large, 1)
    assert little > 10 * MIB
    assert much - little < 4 * MIB


async def test_ten_uploads_at_once_hold_a_step_each(files: tuple[Path, Path]) -> None:
    """100 MB on their way at the same time take what ten steps of the reader take."""
    small, large = files
    async with capturing() as server:
        before, after = await _peaks(server, small, large, 10)
    assert after - before < 16 * MIB


async def test_the_same_bytes_in_memory_would_be_seen(files: tuple[Path, Path]) -> None:
    """The measure works: the same image read whole before sending shows its size."""
    _, large = files
    script = (
        "import sys; from pathlib import Path; from runpy import run_path;"
        "peak = run_path(sys.argv[1])['peak']; before = peak();"
        "kept = Path(sys.argv[2]).read_bytes(); print(before, peak())"
    )
    done = await anyio.run_process([sys.executable, "-c", script, UPLOADER, str(large)])
    before, after = (int(number) for number in done.stdout.split())
    assert after - before > 8 * MIB
