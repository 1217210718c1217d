"""Files that are on the disk and not in memory, as those of a large batch are."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pictures import png


def write(folder: Path, count: int, size: int) -> None:
    """Writes different pictures, all the way to the disk."""
    base, middle = png(size, seed=1), size // 2
    for number in range(count):
        image = base[:middle] + b"%08d" % number + base[middle + 8 :]
        with (folder / f"{number:06}.png").open("wb") as file:
            file.write(image)
            file.flush()
            os.fsync(file.fileno())


def forget(paths: Iterable[Path]) -> None:
    """Makes the kernel drop what it holds of files in memory."""
    for path in paths:
        opened = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(opened)


def why_not(folder: Path) -> str | None:
    """Returns why files in this directory cannot be made cold, or None if they can."""
    if not hasattr(os, "posix_fadvise") or not hasattr(os, "RWF_NOWAIT"):
        return "this system can neither drop a file from memory nor tell whether it did"
    write(folder, 1, 100_000)
    (path,) = folder.glob("*.png")
    forget([path])
    opened = os.open(path, os.O_RDONLY)
    try:
        os.preadv(opened, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return "this filesystem lives in memory, or does not tell what it holds there"
    finally:
        os.close(opened)
        path.unlink()
    return "this filesystem keeps files in memory whatever it is told"
