"""Files that get their final name only when complete: `.part`, fsync, rename. All of it blocks.

A name here comes from the caller or from this package, never from a server.
"""

from __future__ import annotations

import errno
import filecmp
import itertools
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_LONGEST_STEM = 100
# Windows keeps these names for devices, whatever the suffix.
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10)),
}
_NO_HARD_LINKS = {
    errno.EINVAL,
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
}


def safe_stem(text: str, fallback: str = "image") -> str:
    """Returns `text` as a file name without suffix that is valid on every system."""
    # Composed: some systems take letters apart from their accents, which by themselves are no \w.
    composed = unicodedata.normalize("NFC", text)
    stem = re.sub(r"[^\w .()+-]", "_", composed).strip(" .")[:_LONGEST_STEM].strip(" .")
    # Letters outside ASCII take up to four bytes, and 255 is what most systems hold.
    while len(stem.encode("utf-8", "replace")) > 2 * _LONGEST_STEM:
        stem = stem[:-1]
    if not stem:
        return fallback
    return f"_{stem}" if stem.partition(".")[0].lower() in _DEVICES else stem


def part_path(directory: Path, stem: str, token: str | None = None) -> Path:
    """Returns a temporary name in the same directory; unguessable unless `token` is given."""
    return directory / f".{stem[:60]}.{token or secrets.token_hex(8)}.part"


class PartFile:
    """A file written under a temporary name. Each method blocks and is run in a thread.

    Cancelling the caller does not stop the thread it waited for. So `drop` waits for whatever is
    running when it is called, and nothing starts afterwards.

    Args:
        directory: where it is written.
        stem: the start of its name.
        token: makes the name unique. If given, a file that an earlier process left under the same
            name is removed.
    """

    def __init__(self, directory: Path, stem: str, token: str | None = None) -> None:
        self._path = part_path(directory, stem, token)
        self._known = token is not None
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._dropped = False

    def write(self, data: bytes | bytearray) -> None:
        """Appends; the first call creates the file."""
        with self._lock:
            self._write(data)

    def publish(self, finish: Callable[[Path], Path], last: bytes = b"") -> Path:
        """Appends `last`, flushes the file to disk, and returns the result of `finish`."""
        with self._lock:
            file = self._write(last)
            file.flush()
            os.fsync(file.fileno())
            file.close()
            return finish(self._path)

    def drop(self) -> None:
        """Removes the file unless it was published."""
        with self._lock:
            self._dropped = True
            try:
                # What could not be written is not written on closing either.
                if self._file is not None:
                    self._file.close()
            except OSError:
                pass
            finally:
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)

    def _write(self, data: bytes | bytearray) -> BinaryIO:
        if self._dropped:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        if self._file is None:
            if self._known:
                self._path.unlink(missing_ok=True)
            self._file = self._path.open("xb")
        self._file.write(data)
        return self._file


def publish_as(target: Path, part: Path, _suffix: str) -> Path:
    """Gives the complete file its name, replacing any existing file; a link is not followed.

    The suffix is that of `target`, whatever the image's own would be.
    """
    part.replace(target)
    _sync_directory(target.parent)
    return target


def publish_new(directory: Path, stem: str, part: Path, suffix: str) -> Path:
    """Gives the complete file the first free name of this stem."""
    targets = _names(directory, stem, suffix)
    target = next(targets)
    while not _rename_if_free(part, target):
        target = next(targets)
    _sync_directory(directory)
    return target


def publish_once(directory: Path, stem: str, part: Path, suffix: str) -> Path:
    """Like `publish_new`, but a file of that name with the same content is taken for this one.

    So a file that was published and not recorded as such is not published twice.
    """
    targets = _names(directory, stem, suffix)
    target = next(targets)
    while not _rename_if_free(part, target):
        if (
            not target.is_symlink()
            and target.is_file()
            and filecmp.cmp(part, target, shallow=False)
        ):
            part.unlink()
            break
        target = next(targets)
    _sync_directory(directory)
    return target


def publish_over(directory: Path, stem: str, part: Path, suffix: str) -> Path:
    """Gives the complete file the name of this stem, replacing any existing file."""
    return publish_as(directory / f"{stem}{suffix}", part, suffix)


def _names(directory: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Yields `photo`, `photo (2)`, `photo (3)`, ...; of `photo (2)` the same from there on."""
    yield directory / f"{stem}{suffix}"
    numbered = re.fullmatch(r"(.+) \((\d{1,9})\)", stem, re.ASCII | re.DOTALL)
    base, last = (numbered[1], int(numbered[2])) if numbered else (stem, 1)
    for number in itertools.count(last + 1):
        yield directory / f"{base} ({number}){suffix}"


def _rename_if_free(part: Path, target: Path) -> bool:
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except (OSError, AttributeError) as problem:
        if isinstance(problem, OSError) and problem.errno not in _NO_HARD_LINKS:
            raise
        # A file system without hard links has no rename that refuses to replace either.
        if os.path.lexists(target):
            return False
        part.rename(target)
        return True
    part.unlink()
    return True


def _sync_directory(directory: Path) -> None:
    """Makes the new name survive a power cut, where the system can."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return  # one that may be written to but not read
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}:
            raise
    finally:
        os.close(descriptor)
