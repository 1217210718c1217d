"""The state of a file, from which it shows whether it is still the one that was looked at."""

from __future__ import annotations

import os
from typing import BinaryIO

import attrs


@attrs.frozen
class FileStamp:
    """Identifies a file's state: device, inode, size, mtime, ctime."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def from_stat(cls, info: os.stat_result) -> FileStamp:
        """Returns the stamp of a file that was looked at."""
        return cls(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)

    @classmethod
    def of(cls, file: BinaryIO | int) -> FileStamp:
        """Returns the stamp of an open file. Blocks."""
        return cls.from_stat(os.fstat(file if isinstance(file, int) else file.fileno()))


def open_regular(path: str, flags: int) -> int:
    """Opens like `os.open`, but a pipe put in a file's place does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
