"""What is written into a ledger and read from it: functions of a connection. Each blocks.

They run inside a transaction and may be repeated after a rollback, so they change nothing else.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timezone

import attrs

from chainhub_async._version import __version__
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.reader import chosen_jobs
from chainhub_async.batch.records import (
    error_of_json,
    error_to_json,
    now,
    reply_of_row,
    reply_to_row,
)
from chainhub_async.errors import Attempt, Billed, ChainHubError, LedgerError, printable
from chainhub_async.transport.messages import Response


@attrs.frozen(kw_only=True)
class Job:
    """What the ledger knows of a job."""

    state: JobState
    billed: Billed
    error: ChainHubError | None
    reply: Response | None


@attrs.frozen(kw_only=True)
class Settlement:
    """How a job ended, or went on, to be recorded.

    Attributes:
        key: the job.
        state: its new state.
        billed: whether it cost money.
        error: why it failed.
        reply: the gateway's response, if one came.
        request_id: the gateway's ID for the call.
    """

    key: str
    state: JobState
    billed: Billed
    error: ChainHubError | None = None
    reply: Response | None = None
    request_id: str | None = None


def start_run(connection: sqlite3.Connection) -> int:
    """Records the start of a run and returns its number."""
    row = connection.execute(
        "INSERT INTO runs (started_at, version, pid) VALUES (?, ?, ?)",
        (now(), __version__, os.getpid()),
    )
    return int(row.lastrowid or 0)


def end_run(connection: sqlite3.Connection, run: int) -> None:
    """Records the end of a run."""
    connection.execute("UPDATE runs SET ended_at = ? WHERE id = ?", (now(), run))


def recover(connection: sqlite3.Connection) -> None:
    """Settles the jobs that an interrupted run was sending.

    One whose last bytes never left was not executed. Of any other nobody knows.
    """
    open_jobs = connection.execute("SELECT key FROM jobs WHERE state = 'SENDING'").fetchall()
    for (key,) in open_jobs:
        connection.execute(
            "UPDATE attempts SET ended_at = ?, reason = 'the run was interrupted',"
            " billed = CASE WHEN sent_at IS NULL THEN 'no' ELSE 'maybe' END WHERE key = ?"
            " AND ended_at IS NULL",
            (now(), key),
        )
        state, lost = interrupted(connection, key)
        settle(connection, Settlement(key=key, state=state, billed=lost.billed, error=lost))


def interrupted(connection: sqlite3.Connection, key: str) -> tuple[JobState, ChainHubError]:
    """Returns what is known of a job that an interrupted run was sending."""
    (maybe,) = connection.execute(
        "SELECT count(*) FROM attempts WHERE key = ? AND run ="
        " (SELECT max(run) FROM attempts WHERE key = ?)"
        " AND CASE WHEN ended_at IS NULL THEN sent_at IS NOT NULL ELSE billed != 'no' END",
        (key, key),
    ).fetchone()
    # What an earlier run left uncertain stays so when a later one was interrupted at no cost.
    (earlier,) = connection.execute("SELECT billed FROM jobs WHERE key = ?", (key,)).fetchone()
    billed = Billed.worst(Billed(earlier), Billed.MAYBE if maybe else Billed.NO)
    lost = ChainHubError(
        "The run was interrupted when the request had left and its response had not arrived."
        if maybe
        else "The run was interrupted before the request was sent completely.",
        billed=billed,
    )
    return JobState.PENDING if billed is Billed.NO else JobState.UNCERTAIN, lost


def was_tried_by(connection: sqlite3.Connection, key: str, run: int) -> bool:
    """Returns whether this run made an attempt to send the job."""
    row = connection.execute(
        "SELECT 1 FROM attempts WHERE key = ? AND run = ? LIMIT 1", (key, run)
    ).fetchone()
    return row is not None


def put_back(
    connection: sqlite3.Connection, states: Sequence[JobState], keys: Sequence[str]
) -> int:
    """Makes jobs of these states `PENDING` again and returns how many."""
    chosen, values = chosen_jobs(states, keys)
    done = connection.execute(
        f"UPDATE jobs SET state = 'PENDING', updated_at = ? WHERE {chosen}",  # noqa: S608 - marks
        (now(), *values),
    )
    return done.rowcount


def add_job(
    connection: sqlite3.Connection,
    *,
    key: str,
    endpoint: str,
    image_sha256: str,
    options: str,
    images: int,
) -> None:
    """Adds a job unless it is known."""
    connection.execute(
        "INSERT INTO jobs (key, state, endpoint, image_sha256, options, images, created_at,"
        " updated_at) VALUES (?, 'PENDING', ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (key, endpoint, image_sha256, options, images, now(), now()),
    )


def job(connection: sqlite3.Connection, key: str) -> Job | None:
    """Returns what is known of a job, or None."""
    row = connection.execute(
        "SELECT state, billed, error, reply_status, reply_headers, reply, received_at FROM jobs"
        " WHERE key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    state, billed, error, status, headers, body, received = row
    try:
        return Job(
            state=JobState(state),
            billed=Billed(billed),
            error=error_of_json(error),
            reply=None if status is None else reply_of_row(status, headers, body, received),
        )
    except (TypeError, ValueError) as problem:
        raise LedgerError(
            f"The ledger is damaged: job {key} has a value that cannot be read "
            f"({printable(problem, 100)}). Nothing more is sent."
        ) from None


class JobChangedError(ChainHubError):
    """A job is no longer in the state in which it was decided to send it."""


def begin_attempt(connection: sqlite3.Connection, key: str, run: int, expected: JobState) -> int:
    """Records the intent to send a job, and returns the attempt's number.

    Raises:
        JobChangedError: it is not in the expected state; nothing was recorded.
    """
    changed = connection.execute(
        "UPDATE jobs SET state = 'SENDING', updated_at = ? WHERE key = ? AND state = ?",
        (now(), key, expected.value),
    )
    if not changed.rowcount:
        raise JobChangedError(f"Job {key} is no longer {expected}.")
    (number,) = connection.execute(
        "SELECT coalesce(max(number), 0) + 1 FROM attempts WHERE key = ?", (key,)
    ).fetchone()
    connection.execute(
        "INSERT INTO attempts (key, number, run, started_at) VALUES (?, ?, ?, ?)",
        (key, number, run, now()),
    )
    return int(number)


def mark_sent(connection: sqlite3.Connection, key: str, number: int) -> None:
    """Records that the last bytes of an attempt are about to leave."""
    connection.execute(
        "UPDATE attempts SET sent_at = ? WHERE key = ? AND number = ?", (now(), key, number)
    )


def end_attempt(
    connection: sqlite3.Connection, key: str, number: int, attempt: Attempt | None
) -> None:
    """Records how an attempt ended; None if it brought a usable response."""
    if attempt is None:
        connection.execute(
            "UPDATE attempts SET ended_at = ?, billed = 'yes' WHERE key = ? AND number = ?",
            (now(), key, number),
        )
        return
    connection.execute(
        "UPDATE attempts SET ended_at = ?, billed = ?, phase = ?, status = ?, bytes_sent = ?,"
        " bytes_total = ?, reason = ? WHERE key = ? AND number = ?",
        (
            now(),
            attempt.billed.value,
            attempt.phase,
            attempt.status,
            attempt.bytes_sent,
            attempt.bytes_total,
            attempt.reason,
            key,
            number,
        ),
    )


def settle(connection: sqlite3.Connection, how: Settlement) -> None:
    """Records a job's new state."""
    connection.execute(
        "UPDATE jobs SET state = ?, billed = ?, error = ?, request_id = coalesce(?, request_id),"
        " updated_at = ? WHERE key = ?",
        (
            how.state.value,
            how.billed.value,
            None if how.error is None else error_to_json(how.error),
            how.request_id,
            now(),
            how.key,
        ),
    )
    reply = how.reply or _unreadable(how.error)
    if reply is not None:
        connection.execute(
            "UPDATE jobs SET reply_status = ?, reply_headers = ?, reply = ?, received_at = ?"
            " WHERE key = ?",
            (*reply_to_row(reply), how.key),
        )


def _unreadable(error: ChainHubError | None) -> Response | None:
    """Returns what came of a response that cannot be used: it may contain the result's URL."""
    body: bytes = getattr(error, "body", b"")
    if error is None or not body or error.billed is Billed.NO:
        return None
    return Response(status=error.status or 0, body=body, received_at=datetime.now(timezone.utc))


def refuse(connection: sqlite3.Connection, source: str, error: ChainHubError, run: int) -> None:
    """Records an input that could not become a job."""
    connection.execute(
        "INSERT OR REPLACE INTO refusals (source, error, run, refused_at) VALUES (?, ?, ?, ?)",
        (source, error_to_json(error), run, now()),
    )


def accept(connection: sqlite3.Connection, source: str) -> None:
    """Forgets that an earlier run refused an input."""
    connection.execute("DELETE FROM refusals WHERE source = ?", (source,))


def options_json(fields: Sequence[tuple[str, str]]) -> str:
    """Returns a job's options as the ledger has them."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
