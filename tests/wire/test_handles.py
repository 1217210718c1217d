"""No file stays open, however a call ends."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import current_token

from chainhub_async import (
    AsyncChainHub,
    ChainHubError,
    InvalidImageError,
    Limits,
    RetryPolicy,
    Timeout,
)
from chainhub_async.transport import kept

from .capture import Server, capturing, png
from .conftest import KEY

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc what is open"),
]

LARGE = png(bytes(9_000_000))


def _open_handles(path: Path) -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        # The listing's own handle is gone by now.
        with suppress(FileNotFoundError):
            found += entry.readlink() == path
    return found


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_an_open_file_is_seen(tmp_path: Path) -> None:
    """What the tests below count is there to be counted."""
    path = _written(tmp_path / "cat", png())
    with path.open("rb"):
        assert _open_handles(path) == 1
    assert _open_handles(path) == 0


@pytest.mark.parametrize("data", [png(), LARGE], ids=["small", "large"])
async def test_none_after_success(
    data: bytes, tmp_path: Path, hub: AsyncChainHub, server: Server
) -> None:
    """Calls that went well have closed what they opened."""
    path = _written(tmp_path / "cat", data)
    for _ in range(3):
        await hub.ideogram.replace_background(path, prompt="x")
        assert _open_handles(path) == 0


@pytest.mark.parametrize("how", ["at once", "in the middle", "early refusal", "write deadline"])
async def test_none_after_a_failure(how: str, tmp_path: Path) -> None:
    """Whatever the server does in the middle of an upload, each attempt closes its file."""
    path = _written(tmp_path / "cat", LARGE)
    during: list[int] = []

    async def fail(_: Server, stream: Any, number: int) -> bool:
        if how == "early refusal":
            await stream.send(b"HTTP/1.1 413 Too Large\\r\\nContent-Length: 0\\r\\n\\r\\n")
        if how in {"in the middle", "write deadline"}:
            await anyio.sleep(0.1)
            during.append(_open_handles(path))
        if how == "write deadline":
            await anyio.sleep(5)
        return False

    async with capturing(receive_buffer=4096) as server:
        server.before_body = fail
        async with AsyncChainHub(
            KEY,
            base_url=server.url,
            retry=RetryPolicy(base_delay=0.01),
            timeout=Timeout(write=0.3),
        ) as hub:
            with pytest.raises(ChainHubError) as failed:
                await hub.ideogram.replace_background(path, prompt="x")
            assert _open_handles(path) == 0
    assert 0 < len(server.requests) == len(failed.value.attempts)
    assert not any(request.whole for request in server.requests)
    assert set(during) <= {1}


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.003, 0.01, 0.05, 0.2])
async def test_none_after_cancellation(delay: float, tmp_path: Path) -> None:
    """A call that is cancelled at any moment has closed its file when it ends."""
    path = _written(tmp_path / "cat", LARGE)

    async def hold(*_: Any) -> bool:
        await anyio.sleep(5)
        return False

    async with capturing(receive_buffer=4096) as server:
        server.before_body = hold
        async with AsyncChainHub(KEY, base_url=server.url) as hub:
            for _ in range(5):
                with anyio.move_on_after(delay) as scope:
                    await hub.ideogram.replace_background(path, prompt="x")
                assert scope.cancelled_caught
                assert _open_handles(path) == 0


class _SlowThreads(ThreadPoolExecutor):
    """Threads whose work is done a while before anybody hears of it, as on a slow disk."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def slow() -> Any:
            result = call(*args, **kwargs)
            time.sleep(0.1)
            return result

        return super().submit(slow)


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25])
async def test_none_when_cancelled_while_a_thread_is_at_it(
    delay: float, tmp_path: Path, server: Server, only_threads: None
) -> None:
    """A file that a thread is opening or reading is closed though nobody waits for it any more."""
    path = _written(tmp_path / "cat", LARGE)
    with _SlowThreads(1) as threads:
        current_token().native_token.set_default_executor(threads)  # type: ignore[attr-defined]  # asyncio's own loop
        async with AsyncChainHub(KEY, base_url=server.url) as hub:
            with anyio.move_on_after(delay) as scope:
                await hub.ideogram.replace_background(path, prompt="x")
            assert scope.cancelled_caught
            assert _open_handles(path) == 0
    assert server.connections == (delay > 0.1)


async def test_calls_that_wait_hold_few_files(tmp_path: Path, server: Server) -> None:
    """A file may stay open from its check until it is sent, but not those of a thousand calls."""
    import resource  # not on Windows

    paths = [_written(tmp_path / f"{number}.png", png()) for number in range(200)]

    def held() -> int:
        return sum(_open_handles(path) for path in paths)

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        async with AsyncChainHub(KEY, base_url=server.url, limits=Limits(in_flight=1)) as hub:
            hub._transport.pool.gate.pause(60)
            async with anyio.create_task_group() as group:
                for path in paths:
                    group.start_soon(hub.ideogram.replace_background, path)
                await anyio.sleep(0.5)
                assert 0 < held() <= 64
                group.cancel_scope.cancel()
            assert held() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert server.connections == 0


async def test_none_when_another_image_is_refused(tmp_path: Path, hub: AsyncChainHub) -> None:
    """What was opened before a later image of the same call is refused is closed."""
    path = _written(tmp_path / "cat", png())
    with pytest.raises(InvalidImageError):
        await hub.ideogram.replace_background(path, style_reference_images=[path, b"no image"])
    assert _open_handles(path) == 0


async def test_none_when_cancelled_twice(tmp_path: Path, server: Server) -> None:
    """A second cancellation does not keep the files of a waiting call open."""
    paths = [_written(tmp_path / f"{number}.png", png()) for number in range(3)]
    async with AsyncChainHub(KEY, base_url=server.url, limits=Limits(in_flight=1)) as hub:
        hub._transport.pool.gate.pause(60)
        for turns in range(4):
            task = asyncio.ensure_future(
                hub.ideogram.replace_background(paths[0], style_reference_images=paths[1:])
            )
            with anyio.fail_after(20):
                while sum(map(_open_handles, paths)) < 3:
                    await anyio.sleep(0.01)
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sum(map(_open_handles, paths)) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # with other threads about
async def test_none_in_a_forked_process(tmp_path: Path, server: Server) -> None:
    """A child does not keep the files of calls that wait in its parent, which keeps them."""
    path = _written(tmp_path / "cat", png())
    async with AsyncChainHub(KEY, base_url=server.url) as hub:
        hub._transport.pool.gate.pause(60)
        async with anyio.create_task_group() as group:
            group.start_soon(hub.ideogram.replace_background, path)
            with anyio.fail_after(20):
                while not kept._kept:  # opened in a thread, and known on the loop
                    await anyio.sleep(0.01)
            assert _open_handles(path) == 1
            child = os.fork()
            if not child:
                held = 255
                try:
                    held = _open_handles(path)
                finally:
                    os._exit(held)
            _, status = os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
            assert status == 0
            assert _open_handles(path) == 1
            group.cancel_scope.cancel()
    assert server.connections == 0


def test_the_program_ends_while_a_file_is_opened(tmp_path: Path) -> None:
    """A loop that ends cancels every task, also those within a call: the file is closed even so."""
    path = _written(tmp_path / "cat", png())

    async def program() -> None:
        asyncio.get_running_loop().set_default_executor(_SlowThreads())
        hub = AsyncChainHub(KEY, base_url="http://127.0.0.1:9")
        call = asyncio.ensure_future(hub.ideogram.replace_background(path))
        await asyncio.sleep(0.05)
        assert not call.done()

    asyncio.run(program())
    gc.collect()  # a file that was dropped complains of that
    assert _open_handles(path) == 0
