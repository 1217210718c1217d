"""Files in memory are sent without a thread, all others with; the wire sees no difference."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import current_token

from chainhub_async import AsyncChainHub, Billed, ImageChangedError, ImageSource
from chainhub_async.transport import multipart, reading

from .capture import Server, capturing, png
from .conftest import KEY

pytestmark = pytest.mark.anyio

SMALL, LARGE = png(os.urandom(1000)), png(os.urandom(1000) * 2500)

Read = Callable[[int, memoryview, int], int]
real = reading.read_at_once


def _never(descriptor: int, buffer: memoryview, at: int) -> int:
    raise BlockingIOError(errno.EAGAIN, "not in memory")


def _refused(descriptor: int, buffer: memoryview, at: int) -> int:
    raise OSError(errno.EOPNOTSUPP, "not supported")


def _broken(descriptor: int, buffer: memoryview, at: int) -> int:
    raise OSError(errno.EIO, "Input/output error")


def _in_part() -> Read:
    """Every other read finds nothing in memory, and the others only some of what was asked for."""
    calls = iter(range(10_000))

    def read(descriptor: int, buffer: memoryview, at: int) -> int:
        if next(calls) % 2:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        data = os.pread(descriptor, min(len(buffer), 100_000), at)
        buffer[: len(data)] = data
        return len(data)

    return read


WAYS: dict[str, Callable[[], Read]] = {
    "as it is": lambda: real,
    "nothing in memory": lambda: _never,
    "some in memory": _in_part,
    "refused by the mount": lambda: _refused,
    "no preadv": lambda: reading._unsupported,
    "failing": lambda: _broken,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(reading, "read_at_once", WAYS[request.param]())
    return str(request.param)


def _handles(path: Path) -> list[str]:
    if not Path("/proc/self/fd").exists():
        return []
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return [str(entry) for entry in links if entry.readlink() == path]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_the_same_bytes_however_they_are_read(
    way: str, data: bytes, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """The first call in a directory and those that know it send the file as it is; none is open."""
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    for _ in range(3):
        await hub.ideogram.replace_background(path, prompt="x")
        assert not _handles(path)
    assert [request.body.count(data) for request in server.requests] == [1, 1, 1]
    assert all(request.whole for request in server.requests)


async def test_from_the_middle_of_a_file(
    way: str, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """An image that begins somewhere in an open file is sent from there."""
    path = tmp_path / "album"
    path.write_bytes(b"before" * 1000 + LARGE)
    with path.open("rb") as file:
        file.seek(6000)
        source = await ImageSource.of(file)
    await hub.ideogram.replace_background(source)
    (request,) = server.requests
    assert LARGE in request.body
    assert b"before" not in request.body


@pytest.mark.parametrize("change", ["shorter", "longer", "rewritten"])
async def test_a_change_in_the_middle_is_seen(way: str, change: str, tmp_path: Path) -> None:
    """Whichever way the rest is read, a file that changed breaks the upload off unpaid."""
    data = png(os.urandom(1000) * 9500)
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    turn = anyio.Event()

    async def hold(*_: Any) -> bool:
        await turn.wait()
        return True

    async with capturing(receive_buffer=4096) as server:
        server.before_body = hold
        errors: list[ImageChangedError] = []

        async def call() -> None:
            async with AsyncChainHub(KEY, base_url=server.url) as hub:
                with pytest.raises(ImageChangedError) as changed:
                    await hub.ideogram.replace_background(path)
            errors.append(changed.value)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await anyio.sleep(0.3)
            if change == "shorter":
                os.truncate(path, len(data) - 1)
            else:
                with path.open("ab" if change == "longer" else "r+b") as file:
                    file.write(b"x")
            turn.set()
        assert [error.billed for error in errors] == [Billed.NO]
        assert not any(request.whole for request in server.requests)


async def test_on_a_file_system_in_memory(hub: AsyncChainHub, server: Server) -> None:
    """tmpfs, which some kernels cannot ask, works like any other."""
    place = Path("/dev/shm")
    if not place.is_dir():
        pytest.skip("no tmpfs there")
    path = place / f"chainhub-{os.getpid()}.png"
    try:
        path.write_bytes(LARGE)
        for _ in range(2):
            await hub.ideogram.replace_background(path)
            assert not _handles(path)
    finally:
        path.unlink(missing_ok=True)
    assert [request.body.count(LARGE) for request in server.requests] == [1, 1]


class _Counting(ThreadPoolExecutor):
    used = 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.used += 1
        return super().submit(call, *args, **kwargs)


def _can_ask(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return reading.read_at_once(descriptor, memoryview(bytearray(1)), 0) == 1
    except OSError:
        return False
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_few_threads_for_what_is_in_memory(
    data: bytes, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """Where Linux can be asked, a file that was just written is checked and opened in threads."""
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    if not _can_ask(path):
        pytest.skip("this system cannot be asked")
    with _Counting(1) as threads:
        current_token().native_token.set_default_executor(threads)  # type: ignore[attr-defined]  # asyncio's own loop
        await hub.ideogram.replace_background(path)
        assert threads.used == 1  # aiofiles opens it; anyio has threads of its own for the check
    assert data in server.requests[0].body


@pytest.mark.parametrize("way", ["nothing in memory", "no preadv"], indirect=True)
async def test_threads_for_what_is_not(
    way: str, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """What would have to be waited for is opened and read in threads, and only there."""
    path = tmp_path / "cat.png"
    path.write_bytes(LARGE)
    with _Counting(1) as threads:
        current_token().native_token.set_default_executor(threads)  # type: ignore[attr-defined]  # asyncio's own loop
        await hub.ideogram.replace_background(path)
        steps = -(-len(LARGE) // multipart._STEP)
        # Opening and every step of reading; closing too, unless the file is at hand.
        assert threads.used == steps + (1 if way == "nothing in memory" else 2)
    assert LARGE in server.requests[0].body
