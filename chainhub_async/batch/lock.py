"""Keeps a second batch, in this process or another, off a ledger. Blocks for moments only."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from chainhub_async.errors import LedgerLockedError, printable

# Locks of one process never exclude each other, so those held here are listed as well.
_held: set[Path] = set()
_guard = threading.Lock()


class LedgerLock:
    """An operating-system lock on `<ledger>.lock`, released by the system if the process dies.

    The lock is on a file of its own: closing any descriptor of the database itself would drop the
    locks that SQLite holds on it. The file is left behind, since removing it would let two
    processes lock two files of the same name.

    Raises:
        LedgerLockedError: it is held already.
        OSError: the file cannot be created.
    """

    def __init__(self, ledger: Path) -> None:
        self._path = _beside(ledger.resolve())
        self._process = os.getpid()
        with _guard:
            if self._path in _held:
                raise LedgerLockedError(
                    f"The ledger {printable(ledger)!r} is in use by another batch of this process."
                )
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            if not _take(self._file):
                holder = _holder(self._file)
                os.close(self._file)
                raise LedgerLockedError(
                    f"The ledger {printable(ledger)!r} is in use by another process{holder}. Wait "
                    "until it has ended, or use another ledger."
                )
            _held.add(self._path)
        # Only for the message above; the lock does not depend on it.
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, str(self._process).encode())

    def release(self) -> None:
        """Releases the lock; may be called twice."""
        with _guard:
            # A forked child inherits the list and the descriptor, but not the lock.
            if self._path in _held and self._process == os.getpid():
                _held.discard(self._path)
                os.close(self._file)


def _beside(ledger: Path) -> Path:
    return ledger.with_name(ledger.name + ".lock")


def _holder(file: int) -> str:
    with suppress(OSError):
        process = os.read(file, 20).decode("ascii", "replace")
        return f" (PID {process})" if process.isdigit() else ""
    return ""


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
            # Not flock: a forked child would hold that one on.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True
