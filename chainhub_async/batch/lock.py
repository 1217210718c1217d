"""Keeps a second batch, in this process or another, off a ledger. Blocks for moments only."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from chainhub_async.errors import LedgerLockedError, printable

# The locks of this process, by what they lock: for a message that names the right culprit, and for
# forked children, which must not hold on to them when this process has ended.
_held: dict[tuple[int, int], int] = {}
_mutex = threading.Lock()


def _drop_inherited() -> None:
    global _mutex  # noqa: PLW0603 - another thread may have held it when this process was forked
    _mutex = threading.Lock()
    for file in _held.values():
        with suppress(OSError):
            os.close(file)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited)


class LedgerLock:
    """An operating-system lock on `<ledger>.lock`, released by the system if the process dies.

    The lock is on a file of its own: closing any descriptor of the database itself would drop the
    locks that SQLite holds on it. The file is left behind, since removing it would let two
    processes lock two files of the same name.

    Raises:
        LedgerLockedError: it is held already.
        OSError: the file cannot be created, or its file system has no locks.
    """

    def __init__(self, ledger: Path) -> None:
        self._path = _beside(ledger.resolve())
        self._process = os.getpid()
        with _mutex:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            info = os.fstat(self._file)
            self._identity = (info.st_dev, info.st_ino)
            if not _take(self._file):
                holder = _holder(self._file)
                os.close(self._file)
                if self._identity in _held:
                    holder = "another batch of this process"
                raise LedgerLockedError(
                    f"The ledger {printable(ledger)!r} is in use by {holder}. Wait until it has "
                    "ended, or use another ledger."
                )
            _held[self._identity] = self._file
        # Only for the message above; the lock does not depend on it.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, str(self._process).encode())

    def release(self) -> None:
        """Releases the lock; may be called twice."""
        with _mutex:
            if self._process == os.getpid() and _held.get(self._identity) == self._file:
                del _held[self._identity]
                os.close(self._file)


def _beside(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")


def _holder(file: int) -> str:
    with suppress(OSError):
        process = os.read(file, 20).decode("ascii", "replace")
        return f"another process (PID {process})" if process.isdigit() else "another process"
    return "another process"


if sys.platform == "win32":  # pragma: no cover - covered where it runs
    import msvcrt

    def _take(file: int) -> bool:
        try:
            # A byte that is never written: Windows refuses others to read what is locked.
            os.lseek(file, 1 << 30, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(file: int) -> bool:
        try:
            # Not lockf: that lock is gone as soon as anything in this process closes the file.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
