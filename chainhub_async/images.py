"""Any supported form of an image → its media type, its exact size, and a way to open it again."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import anyio.to_thread
import attrs

from chainhub_async import formats
from chainhub_async.errors import InvalidImageError, printable
from chainhub_async.file_objects import FileBehind, SupportsRead, contents
from chainhub_async.stamps import FileStamp, open_regular

# API description: "maximum size 10 megabytes". Read as 10 MiB; below that the server decides.
IMAGE_LIMIT = 10 * 1024 * 1024

_IN_MEMORY = "The image in memory"
# Characters of a path in a message: whoever gives an image as base64 text is not shown all of it.
_SHOWN = 200


@attrs.frozen(kw_only=True)
class ImageSource:
    """A checked image that can be read any number of times.

    Create one with `of`, `from_path` or `from_bytes` to check an image before a call, or to use it
    in several. An image in memory is kept; one on disk is read again for each attempt, and a call
    fails if the file has changed in the meantime.

    Attributes:
        media_type: `image/jpeg`, `image/png` or `image/webp`, detected from the content.
        size: the number of bytes to send.
        path: the file, or None for an image in memory.
        data: the bytes of an image in memory.
        offset: the position in the file where the image starts.
        stamp: the file's state when it was checked.
    """

    media_type: str
    size: int
    path: Path | None = None
    data: bytes | None = attrs.field(default=None, repr=False)
    offset: int = 0
    stamp: FileStamp | None = attrs.field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        on_disk = self.path is not None and self.stamp is not None
        in_memory = self.data is not None and len(self.data) == self.size
        if self.media_type not in formats.SUFFIXES or on_disk is in_memory:
            raise InvalidImageError(
                "This ImageSource does not describe an image; create it with ImageSource.of, "
                "from_path or from_bytes."
            )

    @property
    def name(self) -> str:
        """The file name to send: generic and ASCII, never the local one."""
        return "image" + formats.SUFFIXES[self.media_type]

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> ImageSource:
        """Returns the source for an image in memory.

        Raises:
            InvalidImageError: it is empty, too large, truncated, or not JPEG, PNG or WebP.
        """
        fixed = _fixed(data)
        kind = _check(_IN_MEMORY, io.BytesIO(fixed), 0, len(fixed))
        return cls(media_type=kind, size=len(fixed), data=fixed)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> ImageSource:
        """Returns the source for a file. Blocks while the file is checked.

        Raises:
            InvalidImageError: it is missing, unreadable, not a regular file, empty, too large,
                truncated, or not JPEG, PNG or WebP.
        """
        return _measure_file(path)

    @classmethod
    async def of(cls, image: ImageInput) -> ImageSource:
        """Returns the source for any supported form of an image, without blocking the event loop.

        Args:
            image: a path (`str` or `os.PathLike`), `bytes`, `bytearray`, `memoryview`, a binary
                file object (plain or asynchronous), or an `ImageSource`. A file object is read
                from its current position, which is restored if seekable, and is never closed.
                Concurrent calls may share a `BytesIO` or a plain file, but no other file object.

        Raises:
            InvalidImageError: see `from_path` and `from_bytes`.
        """
        if isinstance(image, ImageSource):
            return image
        if isinstance(image, bytes | bytearray | memoryview):
            fixed = _fixed(image)
            if formats.is_whole(io.BytesIO(fixed), 0, len(fixed), quick=True):
                return cls.from_bytes(fixed)
            return await anyio.to_thread.run_sync(cls.from_bytes, fixed)
        if isinstance(image, str | os.PathLike):
            return await anyio.to_thread.run_sync(cls.from_path, image)
        if callable(getattr(image, "read", None)):
            found = await contents(image, IMAGE_LIMIT)
            if not isinstance(found, FileBehind):
                return await anyio.to_thread.run_sync(cls.from_bytes, found)
            return await anyio.to_thread.run_sync(
                _measure_file, found.name, found.offset, found.stamp
            )
        raise not_an_image(image)


def not_an_image(given: object) -> InvalidImageError:
    """Returns the error for what is no form of an image."""
    return InvalidImageError(
        f"image is a {type(given).__name__}; a path, bytes, a file opened in binary mode, or an "
        "ImageSource is expected."
    )


ImageInput: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | SupportsRead | ImageSource
)
"""Every supported form of an image: a path, bytes, a file object, or an `ImageSource`."""


def _fixed(data: bytes | bytearray | memoryview) -> bytes:
    """Returns a copy if the data can change, so that what was checked is what is sent."""
    try:
        view = memoryview(data)
    except ValueError as problem:  # it is a view that was released
        raise InvalidImageError(f"{_IN_MEMORY} cannot be read: {problem}.") from None
    _check_size(_IN_MEMORY, view.nbytes, 0)
    return data if type(data) is bytes else view.tobytes()


def open_checked(
    given: str | bytes | os.PathLike[Any],
    offset: int = 0,
    expected: FileStamp | None = None,
    flags: int = os.O_RDONLY | getattr(os, "O_BINARY", 0),
) -> tuple[int, ImageSource]:
    """Opens a file, checks the image in it, and returns descriptor and image. Blocks.

    Args:
        given: the path.
        offset: where in the file the image starts.
        expected: what the file's stamp must be, if it is known.
        flags: as for `os.open`.

    Raises:
        InvalidImageError: see `ImageSource.from_path`.
    """
    shown, name, descriptor = "The image's path", "", -1
    try:
        name = os.fsdecode(given)
        if not name:
            raise InvalidImageError(f"{shown} is empty.")
        path, shown = Path(name), f"The image {printable(name, _SHOWN)!r}"
        _refuse_special(shown, path.stat())
        descriptor = open_regular(name, flags)
        image = _examined(shown, path.absolute(), descriptor, offset, expected)
    except BaseException as problem:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(problem, InvalidImageError) or not isinstance(problem, Exception):
            raise
        if isinstance(problem, FileNotFoundError):
            hint = " URLs cannot be sent; download the file first." if "://" in name else ""
            raise InvalidImageError(f"{shown} does not exist.{hint}") from None
        reason = getattr(problem, "strerror", None) or str(problem)
        raise InvalidImageError(f"{shown} cannot be read: {reason}.") from None
    return descriptor, image


def _examined(
    shown: str, path: Path, descriptor: int, offset: int, expected: FileStamp | None
) -> ImageSource:
    stamp = FileStamp.of(descriptor)
    if expected is not None and stamp != expected:
        raise InvalidImageError(f"{shown} is no longer the file that was opened.")
    size = stamp.size - offset
    with open(descriptor, "rb", closefd=False) as file:
        kind = _check(shown, file, offset, size)
    return ImageSource(media_type=kind, size=size, path=path, offset=offset, stamp=stamp)


def _measure_file(
    given: str | bytes | os.PathLike[Any],
    offset: int = 0,
    expected: FileStamp | None = None,
) -> ImageSource:
    descriptor, image = open_checked(given, offset, expected)
    os.close(descriptor)
    return image


def _refuse_special(shown: str, info: os.stat_result) -> None:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(info.st_mode):
        kind = kinds.get(stat.S_IFMT(info.st_mode), "a device")
        raise InvalidImageError(f"{shown} is {kind}; a regular file is expected.")


def _check_size(shown: str, size: int, start: int) -> None:
    if size <= 0:
        at = f" after position {start}: seek to where the image starts" if start else ""
        raise InvalidImageError(f"{shown} is empty{at}.")
    if size > IMAGE_LIMIT:
        raise InvalidImageError(
            f"{shown} has {size:,} bytes; at most {IMAGE_LIMIT:,} (10 MiB) are allowed."
        )


def _check(shown: str, file: BinaryIO, start: int, size: int) -> str:
    _check_size(shown, size, start)
    file.seek(start)
    kind = formats.media_type(file.read(formats.HEAD_SIZE))
    if kind is None:
        raise InvalidImageError(
            f"{shown} is not a JPEG, PNG or WebP image, judging by its first bytes."
        )
    if not formats.is_whole(file, start, size):
        raise InvalidImageError(f"{shown} is truncated: the file ends before the image does.")
    return kind
