"""The files that ledgers name as results, so that they are not taken as photos again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import attrs

from chainhub_async.batch.records import text_of_path
from chainhub_async.batch.schema import open_for_reading
from chainhub_async.errors import LedgerError


@attrs.frozen
class Results:
    """Results of earlier runs.

    A second run over a folder that holds the results as well would otherwise pay for *their*
    backgrounds to be replaced.
    """

    _names: frozenset[str] = frozenset()
    _places: frozenset[tuple[str, str]] = frozenset()
    # Links resolved, by folder: photos are many, and folders few.
    _folders: dict[str, str] = attrs.field(factory=dict[str, str], repr=False, eq=False)

    @classmethod
    def of(cls, ledgers: Iterable[Path]) -> Results:
        """Returns those of some ledgers; one that is missing or cannot be read has none."""
        # Not by `Path`: there may be a hundred thousand of them.
        places = {os.path.split(path) for ledger in ledgers for path in _results(ledger)}
        real = {folder: _real(folder) for folder, _ in places}
        return cls(
            frozenset(name for _, name in places),
            frozenset((real[folder], name) for folder, name in places),
        )

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        name = text_of_path(name)
        if name not in self._names:
            return False
        if folder not in self._folders:
            self._folders[folder] = _real(folder)
        return (self._folders[folder], name) in self._places


def _real(folder: str) -> str:
    return text_of_path(os.path.realpath(folder or os.curdir))


def _results(ledger: Path) -> Iterator[str]:
    try:
        with closing(open_for_reading(ledger)) as connection:
            yield from (path for (path,) in connection.execute("SELECT path FROM outputs"))
    except (LedgerError, sqlite3.Error):
        return  # a run that uses it says why
