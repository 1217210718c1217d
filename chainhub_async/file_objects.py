"""Whatever has a `read` → the bytes in it, or the plain file behind it."""

from __future__ import annotations

import inspect
import io
import os
import stat
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

import anyio
import anyio.to_thread
import attrs

from chainhub_async.errors import InvalidImageError, printable
from chainhub_async.stamps import FileStamp

# Characters of a foreign error in a message.
_SHOWN = 200


class SupportsRead(Protocol):
    """A file object opened in binary mode, plain or asynchronous."""

    def read(self, size: int, /) -> bytes | Awaitable[bytes]:
        """Returns at most `size` bytes."""
        ...


@attrs.frozen(kw_only=True)
class FileBehind:
    """The plain file that a file object reads, so that it can be streamed.

    Attributes:
        name: its path.
        offset: the position of the file object in it.
        stamp: its state.
    """

    name: str | bytes
    offset: int
    stamp: FileStamp


async def contents(file: Any, limit: int) -> bytes | FileBehind:
    """Returns what a file object has from its position on, or the file behind it, not read.

    The position is restored if the file object is seekable; it is never closed.

    Args:
        file: whatever has a `read`.
        limit: in bytes; where a file object has to be read, one more than that is the most read.

    Raises:
        InvalidImageError: it cannot be read, returns no bytes, or is at its end.
    """
    try:
        if isinstance(file, io.BytesIO):
            # Read in one step, so that calls that share it do not move each other's position.
            data = file.getvalue()[file.tell() :]
        elif (behind := await anyio.to_thread.run_sync(_file_behind, file)) is not None:
            return behind
        elif inspect.iscoroutinefunction(file.read):
            data = await _read_all_async(file, limit)
        else:
            # Abandoned on cancellation: a pipe may never say anything.
            data = await anyio.to_thread.run_sync(
                _read_all_sync, file, limit, abandon_on_cancel=True
            )
    except InvalidImageError:
        raise
    except UnicodeDecodeError:
        raise _not_binary("text") from None
    except Exception as problem:
        reason = str(problem) or type(problem).__name__
        raise InvalidImageError(
            f"The image's file object cannot be read: {printable(reason, _SHOWN).rstrip('.')}."
        ) from problem
    if not data:
        raise InvalidImageError(
            "The image's file object is empty, or at its end: seek to where the image starts."
        )
    return data


def _file_behind(file: Any) -> FileBehind | None:
    """Returns the file behind a plain file opened for reading."""
    # The very types: what derives from them may read something else.
    raw = file.raw if type(file) is io.BufferedReader else file
    if type(raw) is not io.FileIO or raw.writable() or not isinstance(raw.name, str | bytes):
        return None
    try:
        stamp = FileStamp.of(raw.fileno())
        again = os.stat(raw.name)  # noqa: PTH116 - may be bytes
        if (again.st_dev, again.st_ino) != (stamp.device, stamp.inode):
            return None
        if not stat.S_ISREG(again.st_mode):
            return None
        return FileBehind(name=raw.name, offset=file.tell(), stamp=stamp)
    except OSError:
        return None


def _read_all_sync(file: Any, limit: int) -> bytes:
    """Leaves the file where it was, if it can tell that and go back."""
    data, start = bytearray(), None
    with suppress(Exception):
        start = file.tell()
    try:
        while len(data) <= limit:
            step = _binary(file.read(limit + 1 - len(data)))
            if not step:
                break
            data += step
    finally:
        if start is not None:
            with suppress(Exception):
                file.seek(start)
    return bytes(data)


async def _read_all_async(file: Any, limit: int) -> bytes:
    """Leaves the file where it was, if it can tell that and go back."""
    data, start = bytearray(), None
    with suppress(Exception):
        start = await _now(file.tell())
    try:
        while len(data) <= limit:
            step = _binary(await file.read(limit + 1 - len(data)))
            if not step:
                break
            data += step
    finally:
        if start is not None:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await _now(file.seek(start))
    return bytes(data)


async def _now(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _binary(step: Any) -> bytes | bytearray | memoryview:
    if isinstance(step, bytes | bytearray | memoryview):
        return step
    if inspect.iscoroutine(step):
        step.close()
    raise _not_binary(type(step).__name__)


def _not_binary(what: str) -> InvalidImageError:
    return InvalidImageError(
        f"The image's file object returns {what}, not bytes: open it in binary mode, "
        'open(path, "rb").'
    )
