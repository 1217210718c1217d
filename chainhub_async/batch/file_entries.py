"""What a ledger has of files: those that were read, and those that were saved.

Functions of a connection, as in `entries`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from chainhub_async.batch.facts import SavedFile
from chainhub_async.batch.records import now


def known(connection: sqlite3.Connection, path: str) -> tuple[Any, ...] | None:
    """Returns what is known of a file that was read: its stamp, media type and SHA-256."""
    row: tuple[Any, ...] | None = connection.execute(
        "SELECT device, inode, bytes, modified_ns, changed_ns, media_type, sha256 FROM files"
        " WHERE path = ?",
        (path,),
    ).fetchone()
    return row


def learn(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Records files that were read: path, and what `known` returns."""
    connection.executemany(
        "INSERT OR REPLACE INTO files (path, device, inode, bytes, modified_ns, changed_ns,"
        " media_type, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def outputs(connection: sqlite3.Connection, source: str, key: str) -> tuple[SavedFile, ...]:
    """Returns the files that were saved for an input."""
    rows = connection.execute(
        "SELECT number, path, bytes, modified_ns FROM outputs WHERE source = ? AND key = ?"
        " ORDER BY number",
        (source, key),
    )
    return tuple(SavedFile(number=n, path=p, bytes=b, modified_ns=m) for n, p, b, m in rows)


def copies(connection: sqlite3.Connection, key: str, number: int) -> list[SavedFile]:
    """Returns all files that were saved of one image of a job."""
    rows = connection.execute(
        "SELECT number, path, bytes, modified_ns FROM outputs WHERE key = ? AND number = ?",
        (key, number),
    )
    return [SavedFile(number=n, path=p, bytes=b, modified_ns=m) for n, p, b, m in rows]


def taken_paths(
    connection: sqlite3.Connection, source: str, key: str, paths: Sequence[str]
) -> set[str]:
    """Returns which of these paths belong to other inputs: results, or the inputs themselves."""
    marks = ",".join("?" * len(paths))
    rows = connection.execute(
        f"SELECT path FROM outputs JOIN inputs USING (source, key) WHERE path IN ({marks})"  # noqa: S608 - marks
        " AND NOT (source = ? AND key = ?)"
        f" UNION SELECT source FROM inputs WHERE source IN ({marks})",
        (*paths, source, key, *paths),
    )
    return {path for (path,) in rows}


def are_inputs(identities: Sequence[tuple[int, int]], connection: sqlite3.Connection) -> bool:
    """Returns whether one of these files, by device and inode, was read as an image."""
    query = "SELECT 1 FROM files WHERE device = ? AND inode = ? LIMIT 1"
    return any(connection.execute(query, identity).fetchone() for identity in identities)


def add_outputs(
    connection: sqlite3.Connection, source: str, key: str, saved: Sequence[SavedFile]
) -> None:
    """Records files that were saved; whatever had the same paths was replaced."""
    connection.executemany(
        "DELETE FROM outputs WHERE path = ? AND NOT (source = ? AND key = ?)",
        [(file.path, source, key) for file in saved],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO outputs (source, key, number, path, bytes, modified_ns, saved_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (source, key, file.number, file.path, file.bytes, file.modified_ns, now())
            for file in saved
        ],
    )
