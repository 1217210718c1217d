"""Files that stay open from the check of an image until it is sent.

So a small one takes one hop to a thread and not two.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - aiofiles is handed a future of the event loop's own
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, BinaryIO, cast

import aiofiles
import anyio

from chainhub_async.images import ImageInput, ImageSource, open_checked
from chainhub_async.process import after_fork
from chainhub_async.transport.running import running_loop

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # there is no such module

# By the identity of their images, each of which is held by the call that it is kept for.
_kept: dict[int, Any] = {}


async def checked(image: ImageInput) -> ImageSource:
    """Does as `ImageSource.of`, and may leave a file open for whoever sends it; see `let_go`.

    Raises:
        InvalidImageError: see `ImageSource.of`.
    """
    if not isinstance(image, str | os.PathLike) or len(_kept) + len(_openings) >= _most_kept():
        return await ImageSource.of(image)
    found: list[ImageSource] = []

    def open_it(_: str, flags: int) -> int:
        descriptor, source = open_checked(image, flags=flags)
        found.append(source)
        return descriptor

    opening = _Opening()
    _openings.add(opening)
    try:
        # The opener opens the real path and checks it; the name given to aiofiles is never used.
        file = await aiofiles.open("image", "rb", opener=open_it, loop=cast("Any", opening))
    except asyncio.CancelledError:
        work = opening.work
        with anyio.CancelScope(shield=True):
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            work.result().close()
        raise
    finally:
        _openings.discard(opening)
    _kept[id(found[0])] = file.detach()
    return found[0]


def take(image: ImageSource) -> Any:
    """Returns the open file of an image, for the caller to close, or None if none was kept."""
    return _kept.pop(id(image), None)


def let_go(images: Iterable[ImageSource]) -> None:
    """Closes the files that were left open and not needed."""
    # At once, since whoever is cancelled may be cancelled again: nothing was written to them.
    for image in images:
        raw = take(image)
        if raw is not None:
            raw.close()


class _Opening:
    """Stands before the event loop for aiofiles, so that a cancellation does not drop a file.

    Files are opened and read with aiofiles here, which rests on an event loop's `run_in_executor`.
    A task around aiofiles would itself be cancelled, with all others, where the loop ends, and the
    file dropped. Here the executor's own future is awaited, through `asyncio.wait`, so that
    whoever is cancelled can wait for the thread.

    Attributes:
        work: what a thread does, however its caller fares.
    """

    async def run_in_executor(self, executor: None, work: Callable[[], BinaryIO]) -> BinaryIO:
        """Called by aiofiles."""
        loop: asyncio.AbstractEventLoop = running_loop()
        self.work = loop.run_in_executor(executor, work)
        # Not `shield`, which from Python 3.14 on reports the error of what was cancelled meanwhile.
        await asyncio.wait([self.work])
        return self.work.result()


# Files that are just being opened; they count as kept.
_openings: set[_Opening] = set()


def _most_kept() -> int:
    if resource is None:
        return 64
    # Most descriptors are for others.
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1000 if soft < 0 else min(1000, soft // 8)


def _close_inherited() -> None:
    for raw in _kept.values():
        raw.close()
    _kept.clear()
    _openings.clear()


after_fork(_close_inherited)
