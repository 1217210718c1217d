"""Reads the file of an image that is being sent, and fails if it is not the one that was checked.

Opened and read with aiofiles, in threads; but what Linux has in memory (preadv2(2) with RWF_NOWAIT,
on most local file systems) is copied right on the event loop, in less time than a thread takes to
wake up.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiohttp cancels its writer in a way that anyio cannot shield from
import errno
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import aiofiles
import anyio.to_thread
from aiofiles.threadpool import wrap

from chainhub_async.errors import ImageChangedError, printable
from chainhub_async.images import ImageSource
from chainhub_async.stamps import FileStamp, open_regular
from chainhub_async.transport.kept import take


def _unsupported(descriptor: int, buffer: memoryview, at: int) -> int:  # noqa: ARG001 - see below
    raise OSError(errno.EOPNOTSUPP, "reading without waiting is not supported here")


def _preadv(descriptor: int, buffer: memoryview, at: int) -> int:
    return os.preadv(descriptor, [buffer], at, os.RWF_NOWAIT)


read_at_once: Callable[[int, memoryview, int], int] = (
    _preadv if hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT") else _unsupported
)
"""Reads from a position and returns how many bytes, 0 at the end of the file.

Raises BlockingIOError where that would wait, and another OSError where it is not supported.
"""


class ImageFile:
    """The open file of an image.

    Args:
        image: the image.
        raw: the file.
        is_checked: whether it was just seen to be unchanged.
    """

    def __init__(self, image: ImageSource, raw: Any, *, is_checked: bool) -> None:
        self._image = image
        self._raw = raw
        self._is_checked = is_checked
        # Whether the file's system answers without waiting. If so, it is one on this machine, and
        # looking at an open file, and closing it, do not wait either.
        self._at_hand = True

    async def read_into(self, buffer: memoryview, at: int) -> int:
        """Reads from position `at` of the image; returns how many bytes, at least one.

        The last bytes of an image are only returned if its file is unchanged: until they are sent
        the call can be aborted at no cost.

        Raises:
            ImageChangedError: the file is not what was checked, or cannot be read.
        """
        size = min(len(buffer), self._image.size - at)
        try:
            got = self._cached(buffer[:size], at) or await self._read(buffer[:size], at)
            due = at + got == self._image.size or not self._is_checked
            changed = not got or (due and await self._stamp() != self._image.stamp)
            self._is_checked = True
        except OSError as problem:
            raise _changed(
                self._image, f"could not be read to its end ({problem.strerror})"
            ) from None
        if changed:
            raise _changed(self._image, "was changed while it was being sent")
        return got

    async def close(self) -> None:
        """Closes the file, even if cancelled."""
        if self._at_hand:
            self._raw.close()
        else:
            await uninterrupted(wrap(self._raw).close())

    def _cached(self, buffer: memoryview, at: int) -> int:
        if self._at_hand:
            try:
                return read_at_once(self._raw.fileno(), buffer, self._image.offset + at)
            except BlockingIOError:
                pass
            except OSError:
                # Not supported there, or an error that reading it in a thread will show again.
                self._at_hand = False
        return 0

    async def _read(self, buffer: memoryview, at: int) -> int:
        self._raw.seek(self._image.offset + at)
        # Not left before its end: nobody else may use the buffer while a thread writes to it.
        return cast("int", await uninterrupted(wrap(self._raw).readinto(buffer)))

    async def _stamp(self) -> FileStamp:
        descriptor = self._raw.fileno()
        if self._at_hand:
            return FileStamp.of(descriptor)
        found = await uninterrupted(anyio.to_thread.run_sync(FileStamp.of, descriptor))
        return cast("FileStamp", found)


@asynccontextmanager
async def opened(image: ImageSource) -> AsyncGenerator[ImageFile, None]:
    """Opens an image's file and closes it at the end, however that comes about.

    Raises:
        ImageChangedError: the file is not what was checked, or cannot be opened.
    """
    # An ImageSource has a path wherever it has no data.
    kept = take(image)
    raw = kept or await _opened_in_thread(image, str(image.path))
    file = ImageFile(image, raw, is_checked=kept is None)
    try:
        yield file
    finally:
        await file.close()


async def _opened_in_thread(image: ImageSource, path: str) -> Any:
    def open_unchanged(path: str, flags: int) -> int:
        return _unchanged(image, open_regular(path, flags))

    try:
        file = await uninterrupted(aiofiles.open(path, "rb", opener=open_unchanged))
    except OSError as problem:
        raise _changed(image, f"can no longer be opened ({problem.strerror})") from None
    return file.detach()


def _unchanged(image: ImageSource, descriptor: int) -> int:
    # A file replaced while the call waited is refused before a byte of it is read.
    if FileStamp.of(descriptor) == image.stamp:
        return descriptor
    os.close(descriptor)
    raise _changed(image, "was changed after it was checked")


async def uninterrupted(work: Awaitable[Any]) -> Any:
    """Returns the result of `work`; a cancellation takes effect at the next await.

    A file opened in a thread must not stay open because its caller was cancelled, nor may its
    closing be cancelled before it starts.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and (current := asyncio.current_task()):
        current.cancel()
    return task.result()


def _changed(image: ImageSource, what: str) -> ImageChangedError:
    return ImageChangedError(
        f"The image {printable(image.path)!r} {what}. The upload was aborted before its end, so "
        "nothing was executed."
    )
