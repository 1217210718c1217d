"""A file that changes: what was measured is what is sent, or the call is broken off unpaid."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from chainhub_async import (
    AsyncChainHub,
    Billed,
    ChainHubError,
    ImageChangedError,
    ImageSource,
    Limits,
    RetryPolicy,
)
from chainhub_async.events import UploadProgress

from .capture import Server, capturing, png
from .conftest import KEY

pytestmark = pytest.mark.anyio

# More than the kernel takes for a connection whose server does not read.
LARGE = png(os.urandom(1000) * 9500)


@attrs.define
class _Stalled:
    """A server that reads a little of the body and then waits to be released."""

    server: Server
    hub: AsyncChainHub = attrs.field(init=False)
    release: anyio.Event = attrs.field(factory=anyio.Event)
    sent: int = 0
    moved: float = 0.0

    def watch(self, event: object) -> None:
        if isinstance(event, UploadProgress):
            self.sent, self.moved = event.bytes_sent, anyio.current_time()

    async def hold(self, _: Server, __: Any, number: int) -> bool:
        await self.release.wait()
        return True

    async def in_the_middle(self) -> None:
        """Returns when some of the body has left and no more of it leaves."""
        with anyio.fail_after(10):
            # Nothing tells that nothing happens.
            while not self.sent or anyio.current_time() - self.moved < 0.15:
                await anyio.sleep(0.01)
        assert 0 < self.sent < len(LARGE)


@pytest.fixture
async def stalled(anyio_backend: str) -> Any:
    async with capturing(receive_buffer=4096) as server:
        found = _Stalled(server)
        server.before_body = found.hold
        async with AsyncChainHub(KEY, base_url=server.url, on_event=found.watch) as hub:
            found.hub = hub
            yield found


def _shrink(path: Path) -> None:
    os.truncate(path, len(LARGE) - 1)


def _shrink_much(path: Path) -> None:
    os.truncate(path, 1000)


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(len(LARGE) - 50)
        file.write(b"other bytes")


def _write_anew(path: Path) -> None:
    path.write_bytes(LARGE[::-1])


def _rewrite_unseen(path: Path) -> None:
    before = path.stat()
    _rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_name("other.png")
    other.write_bytes(LARGE[::-1])
    other.replace(path)


def _delete(path: Path) -> None:
    path.unlink()


CHANGES = [
    *(_shrink, _shrink_much, _grow, _rewrite, _write_anew),
    *(_rewrite_unseen, _replace, _delete),
]


async def _during(stalled: _Stalled, image: Any, act: Callable[[], Any], **options: Any) -> Any:
    """Acts in the middle of an upload, lets the server read on, and returns what came of it."""
    outcome: list[Any] = []

    async def call() -> None:
        try:
            outcome.append(await stalled.hub.ideogram.replace_background(image, **options))
        except ChainHubError as error:
            outcome.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await stalled.in_the_middle()
        act()
        stalled.release.set()
    return outcome[0]


async def _until_closed(server: Server) -> None:
    with anyio.fail_after(20):
        while server.closed < server.connections:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", ["image", "style reference"])
async def test_a_file_changed_in_the_middle_breaks_the_upload_off(
    change: Callable[[Path], None], role: str, stalled: _Stalled, tmp_path: Path
) -> None:
    """The error says that nothing was billed; the server never had the whole, and no second try."""
    path = tmp_path / "cat.png"
    path.write_bytes(LARGE)
    options: dict[str, Any] = {} if role == "image" else {"style_reference_images": [path]}
    error = await _during(
        stalled, path if role == "image" else png(), lambda: change(path), **options
    )
    assert type(error) is ImageChangedError
    assert error.billed is Billed.NO
    assert str(path) in str(error)
    assert [attempt.billed for attempt in error.attempts] == [Billed.NO]
    assert 0 < error.bytes_sent < error.attempts[0].bytes_total
    await _until_closed(stalled.server)
    (request,) = stalled.server.requests
    assert request.headers("content-length") == [str(error.attempts[0].bytes_total)]
    assert not request.whole
    assert len(request.body) < error.attempts[0].bytes_total
    assert stalled.server.connections == 1


def _to_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _to_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _to_another(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    new.rename(path)


@pytest.mark.parametrize(
    "change", [Path.unlink, _to_pipe, _to_directory, _to_another, _grow, _rewrite]
)
@pytest.mark.parametrize("data", [png(), LARGE], ids=["small", "large"])
async def test_a_file_changed_while_the_call_waits_is_not_sent(
    change: Callable[[Path], None], data: bytes, tmp_path: Path, server: Server
) -> None:
    """A file that is another one when the call's turn comes is refused before a byte of it."""
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    first, turn = anyio.Event(), anyio.Event()

    async def hold(*_: Any) -> bool:
        first.set()
        await turn.wait()
        return True

    server.before_reply = hold
    errors: list[ImageChangedError] = []
    async with AsyncChainHub(KEY, base_url=server.url, limits=Limits(in_flight=1)) as hub:

        async def call() -> None:
            with pytest.raises(ImageChangedError) as changed:
                await hub.ideogram.replace_background(path, prompt="x")
            errors.append(changed.value)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(hub.ideogram.replace_background, png())
                await first.wait()
                group.start_soon(call)
                await anyio.sleep(0.1)
                change(path)
                turn.set()
    (error,) = errors
    assert (error.billed, error.bytes_sent, len(error.attempts)) == (Billed.NO, 0, 1)
    assert [request.whole for request in server.requests] in ([True], [True, False])
    assert not any(request.body for request in server.requests[1:])


async def test_a_source_of_a_changed_file_is_not_sent(
    hub: AsyncChainHub, server: Server, tmp_path: Path
) -> None:
    """An ImageSource stands for the file as it was measured, however long ago."""
    path = tmp_path / "cat.png"
    path.write_bytes(png())
    source = await ImageSource.of(path)
    await hub.ideogram.replace_background(source)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ImageChangedError, match="changed after it was checked"):
        await hub.ideogram.replace_background(source)
    await hub.ideogram.replace_background(await ImageSource.of(path))
    assert [request.whole for request in server.requests if request.body] == [True, True]


async def test_a_file_changed_between_two_attempts_is_not_sent_again(tmp_path: Path) -> None:
    """A resend sends what was measured, or nothing: both attempts stand in the error."""
    path = tmp_path / "cat.png"
    path.write_bytes(LARGE)

    async def drop(_: Server, stream: Any, number: int) -> bool:
        await stream.receive(1000)
        _to_another(path)
        return False

    async with capturing(receive_buffer=4096) as server:
        server.before_body = drop
        policy = RetryPolicy(base_delay=0.01)
        async with AsyncChainHub(KEY, base_url=server.url, retry=policy) as hub:
            with pytest.raises(ImageChangedError) as changed:
                await hub.ideogram.replace_background(path)
    first, second = changed.value.attempts
    assert (first.billed, second.billed, changed.value.billed) == (Billed.NO,) * 3
    assert first.bytes_sent > second.bytes_sent == 0
    assert not any(request.whole for request in server.requests)
