"""Any accepted form of an image → its media type, its exact size, and a way to open it again."""

from __future__ import annotations

import inspect
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import anyio.to_thread
import attrs

from chainhub_async import formats
from chainhub_async.errors import InvalidImageError, printable

# API description: "maximum size 10 megabytes". Read as 10 MiB; below that the server decides.
IMAGE_LIMIT = 10 * 1024 * 1024


@attrs.frozen
class FileStamp:
    """What changes when a file does."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, file: BinaryIO | int) -> FileStamp:
        """Returns the stamp of an open file. Blocks."""
        info = os.fstat(file if isinstance(file, int) else file.fileno())
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)


@attrs.frozen(kw_only=True)
class ImageSource:
    """An image that has been looked at and can be read any number of times.

    Build one with `of`, `from_path` or `from_bytes` to check an image before a call, or to use it
    in several. An image in memory is kept; one on disk is read anew for each attempt, and a call
    fails if the file has changed meanwhile.

    Attributes:
        media_type: `image/jpeg`, `image/png` or `image/webp`, from the content.
        size: bytes that will be sent.
        path: the file, or None for an image in memory.
        data: the bytes of an image in memory.
        offset: where in the file the image starts.
        stamp: the file's state when it was measured.
    """

    media_type: str
    size: int
    path: Path | None = None
    data: bytes | None = attrs.field(default=None, repr=False)
    offset: int = 0
    stamp: FileStamp | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The file name sent: neutral and ASCII, never the local one."""
        return "image" + formats.SUFFIXES[self.media_type]

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> ImageSource:
        """Returns the source for an image in memory.

        Raises:
            InvalidImageError: it is empty, too large, cut, or not JPEG, PNG or WebP.
        """
        # A copy of what can change: what was measured is what is sent.
        fixed = data if isinstance(data, bytes) else memoryview(data).tobytes()
        kind = _check("The image in memory", io.BytesIO(fixed), 0, len(fixed))
        return cls(media_type=kind, size=len(fixed), data=fixed)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> ImageSource:
        """Returns the source for a file. Blocks while the file's head and end are read.

        Raises:
            InvalidImageError: it is missing, unreadable, not a regular file, empty, too large,
                cut, or not JPEG, PNG or WebP.
        """
        return _measure_file(_path(path), 0, None)

    @classmethod
    async def of(cls, image: Any) -> ImageSource:
        """Returns the source for any accepted form of an image, without blocking the event loop.

        Args:
            image: a path (`str` or `os.PathLike`), `bytes`, `bytearray`, `memoryview`, a binary
                file object (plain or asynchronous), or an `ImageSource`. A file object is read
                from its current position, is left there if it can seek, and is never closed.

        Raises:
            InvalidImageError: see `from_path` and `from_bytes`.
        """
        if isinstance(image, ImageSource):
            return image
        if isinstance(image, bytes | bytearray | memoryview):
            return cls.from_bytes(image)
        if isinstance(image, str | os.PathLike):
            return await anyio.to_thread.run_sync(_measure_file, _path(image), 0, None)
        if isinstance(image, io.BytesIO):
            # Looked at in one step, so that calls that share it do not move it under each other.
            return cls.from_bytes(image.getvalue()[image.tell() :])
        if callable(getattr(image, "read", None)):
            return await _from_file_object(image)
        raise InvalidImageError(
            f"image is a {type(image).__name__}; a path, bytes, a file opened in binary mode, or "
            "an ImageSource is expected."
        )


def _path(path: str | bytes | os.PathLike[Any]) -> Path:
    return Path(os.fsdecode(path))


def _measure_file(path: Path, offset: int, expected: FileStamp | None) -> ImageSource:
    name = str(path)
    shown = f"The image {printable(name)!r}"
    try:
        _refuse_special(shown, path.stat())
        with path.open("rb") as file:
            stamp = FileStamp.of(file)
            if expected is not None and stamp != expected:
                raise InvalidImageError(f"{shown} is no longer the file that was opened.")
            size = stamp.size - offset
            kind = _check(shown, file, offset, size)
    except FileNotFoundError:
        hint = " Download it first: only local images can be sent." if "://" in name else ""
        raise InvalidImageError(f"{shown} does not exist.{hint}") from None
    except (OSError, ValueError) as problem:
        if isinstance(problem, InvalidImageError):
            raise
        reason = getattr(problem, "strerror", None) or str(problem)
        raise InvalidImageError(f"{shown} cannot be read: {reason}.") from None
    return ImageSource(
        media_type=kind,
        size=size,
        path=path.absolute(),
        offset=offset,
        stamp=stamp,
    )


def _refuse_special(shown: str, info: os.stat_result) -> None:
    if stat.S_ISREG(info.st_mode):
        return
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(info.st_mode), "a device")
    raise InvalidImageError(f"{shown} is {kind}; a regular file is expected.")


def _check(shown: str, file: BinaryIO, start: int, size: int) -> str:
    if size <= 0:
        at = f" from position {start} on: seek to where the image starts" if start else ""
        raise InvalidImageError(f"{shown} is empty{at}.")
    if size > IMAGE_LIMIT:
        raise InvalidImageError(
            f"{shown} has {size:,} bytes; at most {IMAGE_LIMIT:,} (10 MiB) are allowed."
        )
    file.seek(start)
    kind = formats.media_type(file.read(formats.HEAD_SIZE))
    if kind is None:
        raise InvalidImageError(
            f"{shown} is not a JPEG, PNG or WebP image, going by its first bytes."
        )
    if not formats.is_whole(file, start, size):
        raise InvalidImageError(f"{shown} is cut: its {size:,} bytes end before the image does.")
    return kind


async def _from_file_object(file: Any) -> ImageSource:
    try:
        behind = await anyio.to_thread.run_sync(_file_behind, file)
        if behind is not None:
            return await anyio.to_thread.run_sync(_measure_file, *behind)
        data = await _read_all(file)
    except InvalidImageError:
        raise
    except (OSError, ValueError) as problem:
        raise InvalidImageError(f"The image's file object cannot be read: {problem}.") from problem
    if not data:
        raise InvalidImageError(
            "The image's file object is at its end: seek to where the image starts."
        )
    return ImageSource.from_bytes(data)


def _file_behind(file: Any) -> tuple[Path, int, FileStamp] | None:
    """Returns path, position and stamp of a plain file opened for reading, so that it streams."""
    raw = file.raw if isinstance(file, io.BufferedReader) else file
    if not isinstance(raw, io.FileIO) or raw.writable() or not isinstance(raw.name, str | bytes):
        return None
    try:
        stamp = FileStamp.of(raw.fileno())
        path = _path(raw.name)
        again = path.stat()
        if not stat.S_ISREG(again.st_mode) or (again.st_dev, again.st_ino) != (
            stamp.device,
            stamp.inode,
        ):
            return None
        return path, file.tell(), stamp
    except OSError:
        return None


async def _read_all(file: Any) -> bytes:
    if inspect.iscoroutinefunction(file.read):
        return await _read_all_async(file)
    # Abandoned on cancellation: the caller's file may be a pipe that never says anything.
    return await anyio.to_thread.run_sync(_read_all_sync, file, abandon_on_cancel=True)


def _position(file: Any) -> Any:
    tell = getattr(file, "tell", None)
    if not callable(tell) or not callable(getattr(file, "seek", None)):
        return None
    try:
        return tell()
    except (OSError, ValueError):
        return None


def _read_all_sync(file: Any) -> bytes:
    start = _position(file)
    data = bytearray()
    while len(data) <= IMAGE_LIMIT:
        step = _binary(file.read(IMAGE_LIMIT + 1 - len(data)))
        if not step:
            break
        data += step
    if start is not None:
        file.seek(start)
    return bytes(data)


async def _read_all_async(file: Any) -> bytes:
    start = _position(file)
    start = await start if inspect.isawaitable(start) else start
    data = bytearray()
    while len(data) <= IMAGE_LIMIT:
        step = _binary(await file.read(IMAGE_LIMIT + 1 - len(data)))
        if not step:
            break
        data += step
    if start is not None:
        back = file.seek(start)
        if inspect.isawaitable(back):
            await back
    return bytes(data)


def _binary(step: Any) -> bytes | bytearray | memoryview:
    if isinstance(step, bytes | bytearray | memoryview):
        return step
    raise InvalidImageError(
        f"The image's file object gives {type(step).__name__}, not bytes: open it in binary mode, "
        'open(path, "rb").'
    )
