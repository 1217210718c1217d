"""The files that ledgers name as results, so that they are not taken as photos again."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import attrs
import click

from chainhub_async.batch.records import text_of_path
from chainhub_async.batch.schema import open_for_reading
from chainhub_async.errors import LedgerError, printable

_NOTE = ".chainhub-ledgers"
_DATABASE = b"SQLite format 3\0"


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


def note(directory: Path, ledger: Path) -> None:
    """Leaves a note of a ledger that lies elsewhere beside the results that it records.

    Without it, a run with another ledger that finds them in a folder of photos could not know them.

    Raises:
        click.UsageError: it cannot be written.
    """
    path, named = directory / _NOTE, os.path.realpath(ledger)
    if os.path.dirname(named) == os.path.realpath(directory):  # noqa: PTH120 - as text, for the note
        return
    try:
        if named not in _noted(directory):
            with path.open("a", encoding="ascii") as file:
                file.write(f"{json.dumps(named)}\n")
    except OSError as problem:
        raise click.UsageError(
            f"{printable(path)!r} cannot be written: {problem.strerror}. Nothing was sent."
        ) from None


def ledgers_of(directory: str) -> set[Path]:
    """Returns the ledgers that lie in a directory, or are known to have results there.

    Raises:
        click.UsageError: that cannot be found out, or one of these is gone.
    """
    shown = repr(printable(directory or os.curdir, 300))
    try:
        noted = {Path(named) for named in _noted(Path(directory))}
        with os.scandir(directory or os.curdir) as found:
            inside = {Path(each.path) for each in found if _is_database(each)}
    except OSError as problem:
        raise click.UsageError(
            f"Whether {shown} contains results of earlier runs cannot be found out: "
            f"{printable(problem.filename, 300)!r} cannot be read: {problem.strerror}."
        ) from None
    if lost := sorted(path for path in noted if not path.is_file()):
        raise click.UsageError(
            f"{shown} contains results that {printable(lost[0], 300)!r} records, which is gone. "
            "They cannot be told from photos, and would be paid for. Bring the ledger back, name "
            f"the photos one by one, or delete {_NOTE} there if it contains no results."
        )
    return noted | inside


def _noted(directory: Path) -> set[str]:
    try:
        with (directory / _NOTE).open(encoding="utf-8", errors="replace") as file:
            return {_named(line) for line in file}
    except FileNotFoundError:
        return set()


def _named(line: str) -> str:
    try:
        return str(json.loads(line))
    except ValueError:  # cut off, or edited: no ledger is called so, which is told
        return line.strip()


def _is_database(each: os.DirEntry[str]) -> bool:
    # Pictures, of which there are many, and what is no regular file are not opened.
    if each.name.lower().endswith((".jpg", ".jpeg", ".png", ".webp")) or not each.is_file():
        return False
    try:
        with open(each.path, "rb") as file:  # noqa: PTH123 - its path is text
            return file.read(len(_DATABASE)) == _DATABASE
    except OSError:
        return False


def _real(folder: str) -> str:
    return text_of_path(os.path.realpath(folder or os.curdir))


def _results(ledger: Path) -> Iterator[str]:
    try:
        with closing(open_for_reading(ledger)) as connection:
            yield from (path for (path,) in connection.execute("SELECT path FROM outputs"))
    except (LedgerError, sqlite3.Error):
        return  # a run that uses it says why
