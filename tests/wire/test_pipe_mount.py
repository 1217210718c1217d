"""Images on a mount that is served through a pipe, which refuses to read without waiting."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from chainhub_async import AsyncChainHub, Billed, ImageChangedError
from chainhub_async.transport import reading

from .capture import Server, png
from .pipe_mount import PipeMount, RefusedError, mounted

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts as on Linux"),
]

SMALL, LARGE = png(os.urandom(1000)), png(os.urandom(1000) * 9000)


@contextmanager
def _mounted(path: Path, data: bytes, silent_from: int | None = None) -> Generator[PipeMount]:
    """Mounts the directory of a path, and the file in it."""
    try:
        with mounted(path.parent, {path.name: data}, silent_from=silent_from) as mount:
            yield mount
    except RefusedError as refused:
        pytest.skip(str(refused))


def _is_open(path: Path) -> bool:
    # By its name alone, since to look at the file itself could wait for the mount.
    found: list[Path] = []
    for entry in Path("/proc/self/fd").iterdir():
        # The listing's own handle is gone by now.
        with suppress(FileNotFoundError):
            found.append(entry.readlink())
    return path in found


def _refusal(path: Path) -> int:
    """Reads without waiting; returns the number of the error, or 0."""
    with path.open("rb", buffering=0) as file:
        assert _is_open(path)
        try:
            reading.read_at_once(file.fileno(), memoryview(bytearray(1)), 0)
        except OSError as problem:
            return problem.errno or -1
    return 0


def test_it_refuses(tmp_path: Path) -> None:
    """The kernel itself says that it cannot read from such a mount without waiting."""
    path = tmp_path / "mount" / "cat.png"
    with _mounted(path, SMALL):
        refusal = _refusal(path)
    if refusal in {0, errno.EAGAIN}:
        pytest.skip("this kernel reads from such mounts too")
    assert refusal == errno.EOPNOTSUPP


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_the_same_bytes_from_it(
    data: bytes, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """Both the first call and one that follows send the file as it is, and none stays open."""
    path = tmp_path / "mount" / "cat.png"
    with _mounted(path, data):
        for _ in range(2):
            await hub.ideogram.replace_background(path, prompt="x")
            assert not _is_open(path)
    assert [request.body.count(data) for request in server.requests] == [1, 1]
    assert all(request.whole for request in server.requests)


@pytest.mark.parametrize("cancelled", [False, True], ids=["left alone", "cancelled"])
async def test_it_goes_silent(
    cancelled: bool, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """A read that is never answered holds up its call alone, which can be cancelled meanwhile."""
    path = tmp_path / "mount" / "cat.png"
    scope, ended, errors = anyio.CancelScope(), anyio.Event(), list[ImageChangedError]()

    async def call() -> None:
        with scope:
            try:
                await hub.ideogram.replace_background(path)
            except ImageChangedError as changed:
                errors.append(changed)
        ended.set()

    with _mounted(path, LARGE, silent_from=4_000_000) as mount:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            try:
                assert await anyio.to_thread.run_sync(mount.heard) == "silent"
                # Were the loop held up by the read, nothing of this would go on.
                for _ in range(20):
                    await anyio.sleep(0.01)
                assert not ended.is_set()
                if cancelled:
                    scope.cancel()
                    with anyio.fail_after(10):
                        await ended.wait()
                # A thread is still at it.
                assert _is_open(path)
            finally:
                mount.kill()
        with anyio.fail_after(10):
            while _is_open(path):
                await anyio.sleep(0.01)
    assert scope.cancelled_caught is cancelled
    assert [error.billed for error in errors] == [Billed.NO] * (not cancelled)
    assert not any(request.whole for request in server.requests)
