"""The ledger's tables, and how its file is opened, checked and brought up to date. Blocks.

Anyone may read a ledger, also during a run: `sqlite3 LEDGER "SELECT state, count(*) FROM jobs
GROUP BY state"`. Times are ISO 8601 in UTC.

    jobs      one row for each distinct call: its state, options, and the gateway's raw response
    attempts  every attempt to send a job; `sent_at` is set just before the last bytes leave
    inputs    which input belongs to which job, and under which name its images are saved
    outputs   the files that were saved
    files     what was already read, so that unchanged files are not read again
    refusals  inputs that could not become a job, such as a file that is no image
    runs      when the ledger was in use
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chainhub_async.errors import LedgerError, printable

APPLICATION_ID = 0x43487562  # "CHub"

# Never edit an entry: ledgers with results that are paid for exist in every version.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE jobs (
        key            TEXT PRIMARY KEY,  -- SHA-256 of endpoint, options, and the images' bytes
        state          TEXT NOT NULL CHECK (state IN ('PENDING', 'SENDING', 'ACCEPTED', 'SAVED',
                                                      'REFUSED', 'UNCERTAIN', 'EXPIRED')),
        endpoint       TEXT NOT NULL,
        image_sha256   TEXT NOT NULL,
        options        TEXT NOT NULL,     -- JSON: an array of [field, value]
        images         INTEGER NOT NULL,  -- how many it makes, each of which is billed
        billed         TEXT NOT NULL DEFAULT 'no' CHECK (billed IN ('no', 'maybe', 'yes')),
        error          TEXT,              -- JSON: type, message, status, code, ...
        request_id     TEXT,
        reply_status   INTEGER,
        reply_headers  TEXT,              -- JSON: an array of [name, value]
        reply          BLOB,              -- the response's body; text wherever it is UTF-8
        received_at    TEXT,
        created_at     TEXT NOT NULL,
        updated_at     TEXT NOT NULL
    );
    CREATE INDEX jobs_by_state ON jobs (state);

    CREATE TABLE attempts (
        key          TEXT NOT NULL REFERENCES jobs,
        number       INTEGER NOT NULL,
        run          INTEGER NOT NULL REFERENCES runs,
        started_at   TEXT NOT NULL,
        sent_at      TEXT,                -- empty: the request never left completely
        ended_at     TEXT,
        billed       TEXT CHECK (billed IN ('no', 'maybe', 'yes')),
        phase        TEXT,
        status       INTEGER,
        bytes_sent   INTEGER,
        bytes_total  INTEGER,
        reason       TEXT,
        PRIMARY KEY (key, number)
    ) WITHOUT ROWID;

    CREATE TABLE inputs (
        source  TEXT NOT NULL,            -- the absolute path, or '' for an image in memory
        key     TEXT NOT NULL REFERENCES jobs,
        stem    TEXT NOT NULL,            -- the name of its files, without suffix and number
        claim   TEXT NOT NULL UNIQUE,     -- the same, as file systems that ignore case see it
        images  INTEGER NOT NULL,
        run     INTEGER NOT NULL REFERENCES runs,
        PRIMARY KEY (source, key)
    ) WITHOUT ROWID;
    CREATE INDEX inputs_by_key ON inputs (key);

    CREATE TABLE outputs (
        source       TEXT NOT NULL,
        key          TEXT NOT NULL,
        number       INTEGER NOT NULL,    -- of the image within its result, from 1
        path         TEXT NOT NULL,
        bytes        INTEGER NOT NULL,
        modified_ns  INTEGER NOT NULL,
        saved_at     TEXT NOT NULL,
        PRIMARY KEY (source, key, number)
    ) WITHOUT ROWID;
    CREATE INDEX outputs_by_key ON outputs (key);
    CREATE INDEX outputs_by_path ON outputs (path);

    CREATE TABLE files (
        path         TEXT PRIMARY KEY,
        device       INTEGER NOT NULL,
        inode        INTEGER NOT NULL,
        bytes        INTEGER NOT NULL,
        modified_ns  INTEGER NOT NULL,
        changed_ns   INTEGER NOT NULL,
        media_type   TEXT NOT NULL,
        sha256       TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX files_by_inode ON files (device, inode);

    CREATE TABLE refusals (
        source      TEXT PRIMARY KEY,
        error       TEXT NOT NULL,        -- JSON: type, message
        run         INTEGER NOT NULL REFERENCES runs,
        refused_at  TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE runs (
        id          INTEGER PRIMARY KEY,
        started_at  TEXT NOT NULL,
        ended_at    TEXT,
        version     TEXT NOT NULL,
        pid         INTEGER NOT NULL
    );
    """,
)

# Checking takes about a second for this size; damage in a larger file is found when it is met.
_LARGEST_CHECKED = 256 * 1024 * 1024
_BUSY_SECONDS = 2.0


def open_for_writing(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Opens a ledger, creating it if missing, and brings its tables up to date.

    Whoever calls this holds the ledger's lock.

    Raises:
        LedgerError: it is damaged, not a ledger, or of a newer version. Such a file is not changed.
        sqlite3.Error, OSError: it cannot be read or written.
    """
    # check_same_thread: used by one thread at a time, but not always the same.
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        version = _version(connection, path, len(migrations))
        if version and path.stat().st_size <= _LARGEST_CHECKED:
            _check(connection, path)
        # Where shared memory is not to be had, SQLite keeps its rollback journal, safe as well.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_nobody_else() -> sqlite3.Connection:
    """Opens an empty ledger in a temporary file, which disappears with the connection."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = MEMORY")
    connection.execute("PRAGMA synchronous = OFF")
    migrate(connection)
    return connection


def open_for_reading(path: Path, migrations: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """Opens an existing ledger without changing anything; works while a run writes to it.

    Raises:
        LedgerError: it is missing, not a ledger, or of another version.
        sqlite3.Error: it cannot be read.
    """
    if not path.is_file():
        raise LedgerError(f"The ledger {printable(path)!r} does not exist.")
    connection = _connect_for_reading(path, "mode=ro")
    try:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.OperationalError:
            # Reading needs a file beside it, which a directory that is read-only does not admit.
            # What nobody can write to can be read without.
            if os.access(path.parent, os.W_OK) or _has_wal(path):
                raise
            connection.close()
            connection = _connect_for_reading(path, "mode=ro&immutable=1")
        if _version(connection, path, len(migrations)) < len(migrations):
            raise LedgerError(
                f"{printable(path)!r} is no ledger yet, or one of an older version: run a batch "
                "with it first."
            )
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_for_reading(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _has_wal(path: Path) -> bool:
    wal = path.with_name(path.name + "-wal")
    return wal.exists() and wal.stat().st_size > 0


@contextmanager
def reading(path: Path | None) -> Generator[None, None, None]:
    """Turns what SQLite raises while a ledger is read into a `LedgerError`."""
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise LedgerError(
            f"The ledger {printable(path)!r} cannot be read: {printable(problem, 300)}."
        ) from None


def migrate(connection: sqlite3.Connection, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Applies the migrations that are missing, all or none of them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in migrations[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Looks for damage.

    Raises:
        LedgerError: there is some.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise LedgerError(
            f"The ledger {printable(path)!r} is damaged ({printable(found, 200)}). Nothing was "
            "sent. Restore a copy of it, or save what can be read: sqlite3 LEDGER .recover"
        )


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    (identity,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if identity != APPLICATION_ID and (tables or identity or version):
        raise LedgerError(
            f"{printable(path)!r} is a database of another application, not a ledger. Nothing was "
            "sent, and the file was not changed."
        )
    if version > newest:
        raise LedgerError(
            f"The ledger {printable(path)!r} was written by a newer version of chainhub-async "
            f"(schema {version}; this version knows {newest}). Update the package."
        )
    return int(version)
