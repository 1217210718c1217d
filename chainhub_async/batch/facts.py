"""What a ledger tells of its inputs, as values. Only `SavedFile` looks at files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from chainhub_async.batch.jobs import JobState
from chainhub_async.errors import Billed


@attrs.frozen(kw_only=True)
class LedgerAttempt:
    """One attempt to send a job, as recorded.

    Attributes:
        number: from 1.
        run: the number of the run that made it.
        started_at: when; times are ISO 8601 in UTC.
        sent_at: just before its last bytes left; None if they never did.
        ended_at: None if it has not ended, or nobody recorded it.
        billed: whether it may have cost money; None while it is not known.
        phase: where it ended; see `Attempt`.
        status: the HTTP status, if one was received.
        bytes_sent: bytes of the body handed to the socket.
        bytes_total: bytes of the whole body.
        reason: why it failed.
    """

    number: int
    run: int
    started_at: str
    sent_at: str | None
    ended_at: str | None
    billed: str | None
    phase: str | None
    status: int | None
    bytes_sent: int | None
    bytes_total: int | None
    reason: str | None


@attrs.frozen(kw_only=True)
class LedgerEntry:
    """One input and its job. A job that several inputs share has an entry for each.

    Attributes:
        source: the input's path; empty for an image in memory.
        key: the job; None if the input could not become one.
        stem: the name of its files, without suffix and number; empty if it has none.
        state: how far the job has come.
        billed: whether it cost money.
        images: how many images it makes, each of which is billed.
        options: the fields sent besides the image, as pairs of name and value.
        error: why it failed: `type`, `message` and more; empty if it did not.
        request_id: the gateway's ID for the call.
        saved: the files that were saved for this input.
        updated_at: when the job changed last.
        attempts: how often it was sent.
    """

    source: str
    key: str | None
    stem: str = ""
    state: JobState
    billed: Billed = Billed.NO
    images: int = 0
    options: tuple[tuple[str, str], ...] = ()
    error: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    request_id: str | None = None
    saved: tuple[str, ...] = ()
    updated_at: str
    attempts: int = 0

    @property
    def prompt(self) -> str:
        """The prompt, or an empty text."""
        return next((value for name, value in self.options if name == "prompt"), "")


@attrs.frozen(kw_only=True)
class LedgerReply:
    """The gateway's response to a job.

    Attributes:
        status: the HTTP status.
        headers: pairs of name and value.
        body: text wherever it is UTF-8.
        received_at: when, as ISO 8601.
    """

    status: int
    headers: Sequence[Sequence[str]]
    body: str | bytes
    received_at: str


@attrs.frozen(kw_only=True)
class LedgerRun:
    """A use of the ledger.

    Attributes:
        number: from 1.
        started_at: when.
        ended_at: None while it is running, and if it was interrupted.
        version: of this package.
        pid: the process.
    """

    number: int
    started_at: str
    ended_at: str | None
    version: str
    pid: int


@attrs.frozen(kw_only=True)
class LedgerCounts:
    """How far a ledger's inputs have come.

    Attributes:
        inputs: how many there are of each state.
        unreadable: how many of those `REFUSED` could not become jobs.
        jobs: how many different calls they are.
        billed: images that were billed, counting each attempt that was.
        maybe_billed: images that may have been billed besides.
    """

    inputs: Mapping[JobState, int]
    unreadable: int
    jobs: int
    billed: int
    maybe_billed: int


@attrs.frozen(kw_only=True)
class LedgerShare:
    """Jobs that are alike.

    Attributes:
        state: their state.
        billed: whether they cost money.
        jobs: how many they are.
        images: how many images they make.
    """

    state: JobState
    billed: Billed
    jobs: int
    images: int


@attrs.frozen(kw_only=True)
class SavedFile:
    """A file that was saved.

    Attributes:
        number: of the image within its result, from 1.
        path: where it is.
        bytes: its size.
        modified_ns: its modification time, which tells whether it was changed since.
    """

    number: int
    path: str
    bytes: int
    modified_ns: int

    def exists(self) -> bool:
        """Returns whether there is a file, also one that was edited since. Blocks."""
        info = self._stat()
        return info is not None and info.st_size > 0

    def is_unchanged(self) -> bool:
        """Returns whether the file is what was saved. Blocks."""
        info = self._stat()
        return info is not None and (info.st_size, info.st_mtime_ns) == (
            self.bytes,
            self.modified_ns,
        )

    def _stat(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)  # noqa: PTH116 - a hundred thousand of them
        except (OSError, ValueError):
            return None


@attrs.frozen(kw_only=True)
class LedgerFile:
    """A file that was saved, and of which response.

    Attributes:
        saved: the file, as recorded.
        received_at: when the gateway responded, as ISO 8601; None if that is not known.
    """

    saved: SavedFile
    received_at: str | None


@attrs.frozen(kw_only=True)
class RunCosts:
    """What the latest run was, or may have been, billed for.

    Attributes:
        images: how many images, counting each attempt.
        saved: how many of these are saved.
        open_calls: how many calls have left completely, and wait for a response.
    """

    images: int = 0
    saved: int = 0
    open_calls: int = 0
