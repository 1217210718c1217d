"""The ledger: durable writes, many in one commit.

Whoever awaits `write` knows on return that it is on disk. All writes that arrive while one commit
is under way share the next, so that many calls at once pay for few of them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import anyio.to_thread
import attrs

from chainhub_async.batch import entries, schema
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.lock import LedgerLock
from chainhub_async.errors import BatchStoppedError, LedgerError, printable

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

# A disk that is full or fails for a moment must not lose a response that is paid for.
_RETRY_AFTER = (0.05, 0.2, 1.0, 2.0)


def in_order(earlier: Work[None] | None, work: Work[None]) -> Work[None]:
    """Returns both as one piece of work."""
    if earlier is None:
        return work

    def both(connection: sqlite3.Connection) -> None:
        earlier(connection)
        work(connection)

    return both


@attrs.define(eq=False)
class _Entry:
    """Something to be written, and what came of it."""

    work: Work[Any]
    urgent: bool
    done: anyio.Event = attrs.field(factory=anyio.Event)
    value: Any = None
    error: Exception | None = None

    @property
    def is_worth_another_try(self) -> bool:
        """Whether it failed because of the file, and has to be written if at all possible."""
        return self.urgent and _is_of_the_file(self.error)


class Ledger:
    """An open ledger. Only one thread uses it at a time.

    Attributes:
        run: the number of this use of it.
    """

    def __init__(
        self, path: Path | None, connection: sqlite3.Connection, lock: LedgerLock | None
    ) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self._process = os.getpid()
        self._waiting: list[_Entry] = []
        self._arrived = anyio.Event()
        self._ending = False
        self._limiter = anyio.CapacityLimiter(1)
        self.run: int = 0

    @property
    def path(self) -> Path | None:
        """The file, or None if nobody else sees it."""
        return self._path

    @classmethod
    def open(cls, path: Path | None, *, for_a_run: bool = True) -> Ledger:
        """Opens a ledger, and settles what an interrupted run left open. Blocks.

        Args:
            path: the file; created if missing. None for one that nobody else sees, and that
                disappears when it is closed.
            for_a_run: whether that is recorded as a run.

        Raises:
            LedgerError: it cannot be used; nothing was changed.
        """
        if path is None:
            ledger = cls(None, schema.open_for_nobody_else(), None)
            ledger.run = entries.start_run(ledger._connection)
            return ledger
        lock: LedgerLock | None = None
        connection: sqlite3.Connection | None = None
        try:
            if path.is_file() and path.stat().st_nlink > 1:
                raise LedgerError(
                    f"The ledger {printable(path)!r} has a second name, a hard link, by which "
                    "another process could use it at the same time. Copy it, or remove that name."
                )
            lock = LedgerLock(path)
            connection = schema.open_for_writing(path)
            ledger = cls(path, connection, lock)
            ledger._commit_all([recover := _Entry(entries.recover, urgent=False)])
            _value(recover)
            if for_a_run:
                ledger._commit_all([start := _Entry(entries.start_run, urgent=False)])
                ledger.run = _value(start)
        except BaseException as problem:
            if connection is not None:
                connection.close()
            if lock is not None:
                lock.release()
            if isinstance(problem, sqlite3.Error | OSError | UnicodeError | ValueError):
                raise _unusable(path, problem) from None
            raise
        return ledger

    async def write(self, work: Work[T], *, urgent: bool = False) -> T:
        """Does `work` within a transaction, and returns its result once it is on disk.

        Args:
            work: may be done more than once, each time on the state before the first.
            urgent: tried again for some seconds when the disk is full or fails.

        Raises:
            LedgerError: it could not be written.
        """
        if self._ending or self._process != os.getpid():
            raise BatchStoppedError(
                "The batch is closed, or belongs to the process that this one was forked from."
            )
        entry = _Entry(work, urgent)
        self._waiting.append(entry)
        self._arrived.set()
        await entry.done.wait()
        return cast("T", _value(entry))

    async def serve(self) -> None:
        """Commits what is written, until `end`.

        It goes on when cancelled: at Ctrl-C `asyncio.run` cancels every task, and what the others
        have to record then is what the ledger is for.
        """
        while self._waiting or not self._ending:
            with suppress(anyio.get_cancelled_exc_class()):
                if not self._waiting:
                    await self._arrived.wait()
                self._arrived = anyio.Event()
                group, self._waiting = self._waiting, []
                await self._commit_in_thread(group)

    async def _commit_in_thread(self, group: list[_Entry]) -> None:
        thread = _Thread(self._commit_all, group)
        try:
            await anyio.to_thread.run_sync(thread.run, limiter=self._limiter)
        except Exception as problem:  # such as no thread to be had
            for entry in group:
                entry.error = _unwritable(self._path, problem)
        finally:
            # A thread that was begun ends, whoever was cancelled meanwhile.
            while thread.is_running:
                with suppress(anyio.get_cancelled_exc_class()):
                    await anyio.sleep(0.005)
            if not thread.has_run:
                self._waiting[:0] = [entry for entry in group if entry.error is None]
            for entry in group:
                if thread.has_run or entry.error is not None:
                    entry.done.set()

    def end(self) -> None:
        """Lets `serve` return when all is written; nothing more is accepted."""
        self._ending = True
        self._arrived.set()

    def close(self) -> None:
        """Closes the file and releases its lock. Blocks."""
        if self._process != os.getpid():
            return
        try:
            self._commit_all([_Entry(lambda c: entries.end_run(c, self.run), urgent=False)])
            # Leaves a single file behind, if nobody is reading.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            pass  # what matters was committed before
        finally:
            self._connection.close()
            if self._lock is not None:
                self._lock.release()

    def _commit_all(self, group: list[_Entry]) -> None:
        for pause in (0.0, *_RETRY_AFTER):
            time.sleep(pause)
            if not group or self._commit(group):
                return
            if not _is_of_the_file(group[0].error):
                # Each on its own, so that one that cannot be done does not take others along.
                for entry in group:
                    self._commit([entry])
            group = [entry for entry in group if entry.is_worth_another_try]

    def _commit(self, group: Sequence[_Entry]) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for entry in group:
                entry.value = entry.work(self._connection)
            self._connection.execute("COMMIT")
        except Exception as problem:
            self._roll_back()
            for entry in group:
                entry.error = problem
                if isinstance(problem, sqlite3.Error | OSError):
                    entry.error = _unwritable(self._path, problem)
                    entry.error.__cause__ = problem
            return False
        for entry in group:
            entry.error = None
        return True

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the next BEGIN tells whether it can still be used


class _Thread:
    """Work that is run in a thread once, and tells how far it is."""

    def __init__(self, work: Callable[[list[_Entry]], None], group: list[_Entry]) -> None:
        self._work = work
        self._group = group
        self.is_running = self.has_run = False

    def run(self) -> None:
        """Runs it."""
        self.is_running = True
        try:
            self._work(self._group)
        finally:
            self.has_run, self.is_running = True, False


def retry_jobs(path: Path, states: Sequence[JobState], keys: Sequence[str] = ()) -> int:
    """Puts jobs back to `PENDING`, so that the next run sends them; returns how many. Blocks.

    Args:
        path: the ledger.
        states: of which states.
        keys: only jobs whose key begins with one of these; all, if there are none.

    Raises:
        LedgerError: it cannot be used, or another process is using it.
    """
    if not path.is_file():
        raise LedgerError(f"The ledger {printable(path)!r} does not exist.")
    ledger = Ledger.open(path, for_a_run=False)
    try:
        entry = _Entry(lambda c: entries.put_back(c, states, keys), True)
        ledger._commit_all([entry])  # noqa: SLF001 - its own
        return int(_value(entry))
    finally:
        ledger.close()


def _is_of_the_file(error: Exception | None) -> bool:
    """Returns whether the file is to blame, and not what was to be written."""
    cause = None if error is None else error.__cause__
    words = ("locked", "full", "disk i/o", "readonly", "unable to open")
    return isinstance(cause, OSError) or any(word in str(cause).lower() for word in words)


def _value(entry: _Entry) -> Any:
    if entry.error is not None:
        raise entry.error
    return entry.value


def _unusable(path: Path, problem: Exception) -> LedgerError:
    return LedgerError(
        f"The ledger {printable(path)!r} cannot be used: {_reason(problem)}. Nothing was sent."
    )


def _unwritable(path: Path | None, problem: Exception) -> LedgerError:
    where = "The batch's temporary ledger" if path is None else f"The ledger {printable(path)!r}"
    return LedgerError(
        f"{where} cannot be written: {_reason(problem)}. Nothing more is sent. Correct this, then "
        "run the batch again to resume it."
    )


def _reason(problem: Exception) -> str:
    reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return printable(reason, 300).rstrip(".")
