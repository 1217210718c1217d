"""Makes ledgers as batches leave them, without running one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs

from chainhub_async.batch import schema

WHEN = "2026-03-01T10:00:00.000+00:00"


@attrs.define
class Sample:
    """A ledger to be filled."""

    path: Path
    _jobs: int = 0

    def __attrs_post_init__(self) -> None:
        with closing(self._connect()) as connection:
            schema.migrate(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(
                "INSERT INTO runs VALUES (1, ?, '2026-03-01T10:05:00.000+00:00', '1.0', 77)",
                (WHEN,),
            )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)

    def execute(self, statement: str, *values: object) -> None:
        """Changes something by hand."""
        with closing(self._connect()) as connection:
            connection.execute(statement, values)

    def add(
        self,
        source: str,
        state: str,
        *,
        saved: Sequence[str] = (),
        prompt: str = "a forest",
        options: Sequence[tuple[str, str]] = (),
        error: dict[str, Any] | None = None,
        billed: str | None = None,
        attempts: Sequence[str] | None = None,
        images: int = 1,
        reply: str | bytes | None = None,
        key: str | None = None,
    ) -> str:
        """Adds an input with a job of its own, or of `key`; returns the job's key."""
        if billed is None:
            costs = {"ACCEPTED": "yes", "SAVED": "yes", "EXPIRED": "yes", "UNCERTAIN": "maybe"}
            billed = costs.get(state, "no")
        with closing(self._connect()) as connection, connection:
            connection.execute("BEGIN")
            if key is None:
                self._jobs += 1
                key = f"{self._jobs:064x}"[::-1]
                fields = [["prompt", prompt], *map(list, options)]
                status, headers = (None, None) if reply is None else (200, '[["X","y"]]')
                connection.execute(
                    "INSERT INTO jobs VALUES"
                    " (?, ?, '/v1/x', 'ff', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(key, state, json.dumps(fields), images, billed),
                        *(None if error is None else json.dumps(error), f"req-{self._jobs}"),
                        *(status, headers, reply, reply and WHEN, WHEN, WHEN),
                    ),
                )
                for number, cost in enumerate(attempts or [billed], start=1):
                    connection.execute(
                        "INSERT INTO attempts VALUES"
                        " (?, ?, 1, ?, ?, ?, ?, 'read', NULL, 10, 10, NULL)",
                        (key, number, WHEN, WHEN, WHEN, cost),
                    )
            claim = f"{source}/{key}"
            connection.execute(
                "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, 1)",
                (source, key, Path(source).stem or f"image-{key[:12]}", claim, images),
            )
            for number, path in enumerate(saved, start=1):
                connection.execute(
                    "INSERT INTO outputs VALUES (?, ?, ?, ?, 1, 1, ?)",
                    (source, key, number, path, WHEN),
                )
            connection.execute("COMMIT")
        return key

    def refuse(self, source: str, message: str) -> None:
        """Adds an input that could not become a job."""
        told = json.dumps({"type": "InvalidImageError", "message": message, "billed": "no"})
        self.execute("INSERT INTO refusals VALUES (?, ?, 1, ?)", source, told, WHEN)
