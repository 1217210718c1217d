"""Reads a ledger without changing it, also while a run writes to it. Each method blocks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from chainhub_async.batch.facts import (
    LedgerAttempt,
    LedgerCounts,
    LedgerEntry,
    LedgerFile,
    LedgerReply,
    LedgerRun,
    LedgerShare,
    RunCosts,
    SavedFile,
)
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.schema import open_for_reading
from chainhub_async.errors import Billed, LedgerError, printable

# Read in steps rather than with one open query: that would keep a run from truncating its log, or,
# on file systems without shared memory, from writing at all.
_STEP = 500
_JOB = (
    "jobs.key, jobs.state, jobs.billed, jobs.images, jobs.options, jobs.error, jobs.request_id,"
    " jobs.updated_at"
)


class LedgerReader:
    """An existing ledger, open for reading. Used as a context manager.

    Args:
        path: the ledger.

    Raises:
        LedgerError: it is missing, damaged, no ledger, or of another version. Each method raises
            it as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._reading():
            self._connection = open_for_reading(path)

    def __enter__(self) -> LedgerReader:  # noqa: PYI034 - no Self before 3.11
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._connection.close()

    def counts(self) -> LedgerCounts:
        """Returns how far the inputs have come, and what was billed."""
        inputs: Counter[JobState] = Counter()
        with self._reading():
            for state, number in self._connection.execute(
                "SELECT state, count(*) FROM inputs JOIN jobs USING (key) GROUP BY state"
            ):
                inputs[JobState(state)] += number
            ((unreadable,),) = self._connection.execute("SELECT count(*) FROM refusals")
            ((jobs, yes, maybe),) = self._connection.execute(_COUNTS)
        if unreadable:
            inputs[JobState.REFUSED] += unreadable
        return LedgerCounts(
            inputs={state: inputs[state] for state in JobState if inputs[state]},
            unreadable=unreadable,
            jobs=jobs,
            billed=yes,
            maybe_billed=maybe,
        )

    def files(self) -> Iterator[LedgerFile]:
        """Yields the files of the jobs that are `SAVED`."""
        after: tuple[Any, ...] = ("", "", 0)
        while True:
            with self._reading():
                rows = self._connection.execute(_FILES, (*after, _STEP)).fetchall()
            yield from map(_file, rows)
            if len(rows) < _STEP:
                return
            after = rows[-1][:3]

    def last_costs(self) -> RunCosts:
        """Returns what the latest run cost so far, also while it is going on."""
        with self._reading():
            ((images, saved, open_calls),) = self._connection.execute(_COSTS)
        return RunCosts(images=images, saved=saved, open_calls=open_calls)

    def shares(
        self, states: Collection[JobState], keys: Sequence[str] = ()
    ) -> tuple[LedgerShare, ...]:
        """Returns how many jobs there are of some states, by state and by what they cost.

        Args:
            states: the states.
            keys: only jobs whose key begins with one of these; all, if there are none.
        """
        chosen, values = chosen_jobs(states, keys)
        with self._reading():
            rows = self._connection.execute(
                "SELECT state, billed, count(*), sum(images) FROM jobs"  # noqa: S608 - marks
                f" WHERE {chosen} GROUP BY state, billed",
                values,
            ).fetchall()
            return tuple(
                LedgerShare(state=JobState(state), billed=Billed(billed), jobs=jobs, images=images)
                for state, billed, jobs, images in rows
            )

    def last_run(self) -> LedgerRun | None:
        """Returns the latest use of the ledger."""
        with self._reading():
            row = self._connection.execute(
                "SELECT id, started_at, ended_at, version, pid FROM runs ORDER BY id DESC LIMIT 1"
            ).fetchone()
        if row is None:
            return None
        number, started, ended, version, pid = row
        return LedgerRun(
            number=number, started_at=started, ended_at=ended, version=version, pid=pid
        )

    def entries(self, states: Collection[JobState] = ()) -> Iterator[LedgerEntry]:
        """Yields the inputs, by their paths; those that could not become jobs come last.

        Args:
            states: of which states; all, if there are none.
        """
        among = ",".join(f"'{state.value}'" for state in states)
        chosen = f"state IN ({among})" if states else "1"
        yield from self._steps(
            f"SELECT source, key, stem, {_JOB} FROM inputs JOIN jobs USING (key)"  # noqa: S608 - constants
            f" WHERE (source, key) > (?, ?) AND {chosen} ORDER BY source, key",
            ("", ""),
            self._entry,
        )
        # Their inputs' names were given to others: their files are gone, what they cost is not.
        yield from self._steps(
            f"SELECT '', key, '', {_JOB} FROM jobs WHERE '' = ? AND key > ? AND {chosen}"  # noqa: S608 - as above
            " AND NOT EXISTS (SELECT 1 FROM inputs WHERE inputs.key = jobs.key) ORDER BY key",
            ("", ""),
            self._entry,
        )
        if not states or JobState.REFUSED in states:
            yield from self._steps(
                "SELECT source, '', error, refused_at FROM refusals WHERE source > ? AND '' = ?"
                " ORDER BY source",
                ("", ""),
                _refusal,
            )

    def attempts(self, key: str) -> tuple[LedgerAttempt, ...]:
        """Returns every attempt to send a job."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT number, run, started_at, sent_at, ended_at, billed, phase, status,"
                " bytes_sent, bytes_total, reason FROM attempts WHERE key = ? ORDER BY number",
                (key,),
            ).fetchall()
        names = [field.name for field in attrs.fields(LedgerAttempt)]
        return tuple(LedgerAttempt(**dict(zip(names, row, strict=True))) for row in rows)

    def reply(self, key: str) -> LedgerReply | None:
        """Returns the gateway's response to a job, or None."""
        with self._reading():
            row = self._connection.execute(
                "SELECT reply_status, reply_headers, reply, received_at FROM jobs"
                " WHERE key = ? AND reply_status IS NOT NULL",
                (key,),
            ).fetchone()
            if row is None:
                return None
            status, headers, body, received = row
            return LedgerReply(
                status=status,
                headers=json.loads(headers or "[]"),
                body=body or "",
                received_at=received,
            )

    def _steps(
        self,
        query: str,
        after: tuple[str, str],
        entry_of: Callable[[Sequence[Any]], LedgerEntry],
    ) -> Iterator[LedgerEntry]:
        while True:
            with self._reading():
                rows = self._connection.execute(f"{query} LIMIT {_STEP}", after).fetchall()
                found = [entry_of(row) for row in rows]
            yield from found
            if len(rows) < _STEP:
                return
            after = rows[-1][0], rows[-1][1]

    def _entry(self, row: Sequence[Any]) -> LedgerEntry:
        source, key, stem, _, state, billed, images, options, error, request_id, updated = row
        saved = self._connection.execute(
            "SELECT path FROM outputs WHERE source = ? AND key = ? ORDER BY number", (source, key)
        )
        ((attempts,),) = self._connection.execute(
            "SELECT count(*) FROM attempts WHERE key = ?", (key,)
        )
        return LedgerEntry(
            source=source,
            key=key,
            stem=stem,
            state=JobState(state),
            billed=Billed(billed),
            images=images,
            options=tuple((str(name), str(value)) for name, value in json.loads(options)),
            error=_error(error),
            request_id=request_id,
            saved=tuple(path for (path,) in saved.fetchall()),
            updated_at=updated,
            attempts=attempts,
        )

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError, TypeError) as problem:
            # Values that are none of ours mean damage as well.
            reason = getattr(problem, "strerror", None) or str(problem)
            raise LedgerError(
                f"The ledger {printable(self._path)!r} cannot be read: {printable(reason, 300)}. "
                "If it is damaged, restore a copy of it, or save what can be read: "
                "sqlite3 LEDGER .recover"
            ) from None


def chosen_jobs(states: Collection[JobState], keys: Sequence[str]) -> tuple[str, list[str]]:
    """Returns the condition, and its values, for jobs of some states; `keys` as in `shares`."""
    among = ",".join("?" * len(states))
    begins = " OR ".join(["substr(key, 1, length(?)) = ?"] * len(keys)) or "1"
    values = [state.value for state in states]
    for key in keys:
        values += [key, key]
    return f"state IN ({among}) AND ({begins})", values


# What a job's attempts do not account for, its own mark does.
_COUNTS = """
    SELECT count(*), coalesce(sum(images * max(yes, billed = 'yes')), 0),
           coalesce(sum(images * max(maybe, billed = 'maybe')), 0)
    FROM (
        SELECT jobs.images, jobs.billed,
               (SELECT count(*) FROM attempts
                WHERE attempts.key = jobs.key AND attempts.billed = 'yes') AS yes,
               (SELECT count(*) FROM attempts
                WHERE attempts.key = jobs.key AND (attempts.billed = 'maybe'
                OR (ended_at IS NULL AND sent_at IS NOT NULL))) AS maybe
        FROM jobs
    )
"""

# CROSS JOIN: in the order of the files, a step at a time, and not of all jobs for each step.
_FILES = """
    SELECT source, key, number, path, bytes, modified_ns, received_at
    FROM outputs CROSS JOIN jobs USING (key)
    WHERE (source, key, number) > (?, ?, ?) AND state = 'SAVED'
    ORDER BY source, key, number LIMIT ?
"""

# What was saved before the run began to send a job is not of what that run was billed for.
_COSTS = """
    SELECT coalesce(sum(spent), 0), coalesce(sum(min(spent, saved)), 0), coalesce(sum(opened), 0)
    FROM (SELECT images * charges AS spent, opened,
                 (SELECT count(DISTINCT number) FROM outputs
                  WHERE outputs.key = sent.key AND saved_at >= began) AS saved
          FROM (SELECT key, min(started_at) AS began, sum(is_open) AS opened,
                       sum(billed IN ('maybe', 'yes') OR is_open) AS charges
                FROM (SELECT *, ended_at IS NULL AND sent_at IS NOT NULL AS is_open
                      FROM attempts WHERE run = (SELECT max(id) FROM runs))
                GROUP BY key) AS sent
               JOIN jobs USING (key))
"""


def _file(row: Sequence[Any]) -> LedgerFile:
    _, _, number, path, size, modified_ns, received_at = row
    saved = SavedFile(number=number, path=path, bytes=size, modified_ns=modified_ns)
    return LedgerFile(saved=saved, received_at=received_at)


def _refusal(row: Sequence[Any]) -> LedgerEntry:
    source, _, error, refused_at = row
    return LedgerEntry(
        source=source,
        key=None,
        state=JobState.REFUSED,
        error=_error(error),
        updated_at=refused_at,
    )


def _error(text: str | None) -> Mapping[str, Any]:
    if text is None:
        return {}
    told = json.loads(text)
    return told if isinstance(told, dict) else {"type": "ChainHubError", "message": str(told)}
