"""Which name each input's images are saved under: decided in the order of the inputs, and kept.

An input keeps its name for as long as the ledger exists, so that a resumed batch writes the same
files whatever finished first.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from pathlib import PurePath

import attrs

from chainhub_async import files

_MANY = 16


@attrs.frozen(kw_only=True)
class Naming:
    """An input that needs a name.

    Attributes:
        source: where it came from, as stored; empty for an image in memory.
        key: its job.
        images: how many images it makes: several are numbered.
    """

    source: str
    key: str
    images: int

    @property
    def wish(self) -> str:
        """The name it would have if it were alone."""
        if not self.source:
            return f"image-{self.key[:12]}"
        return files.safe_stem(PurePath(self.source).stem)


def numbered(stem: str, number: int, images: int) -> str:
    """Returns the name of one of an input's images, without suffix."""
    return stem if images == 1 else f"{stem}-{number}"


def claimed(connection: sqlite3.Connection, source: str, key: str) -> str:
    """Returns the name that an input reserved, or an empty one."""
    row = connection.execute(
        "SELECT stem FROM inputs WHERE source = ? AND key = ?", (source, key)
    ).fetchone()
    return "" if row is None else str(row[0])


def claim(
    connection: sqlite3.Connection,
    wanted: Naming,
    run: int,
    *,
    overwrite: bool,
    hints: dict[str, int],
) -> str:
    """Returns the input's name, without suffix, and reserves it.

    Args:
        connection: the ledger.
        wanted: the input.
        run: the current run.
        overwrite: whether names that only earlier runs used may be taken over.
        hints: which numbers of a name are known to be taken; kept from call to call.
    """
    own = connection.execute(
        "SELECT stem, run FROM inputs WHERE source = ? AND key = ?", (wanted.source, wanted.key)
    ).fetchone()
    if own is not None:
        if overwrite and own[1] != run:
            connection.execute(
                "UPDATE inputs SET run = ? WHERE source = ? AND key = ?",
                (run, wanted.source, wanted.key),
            )
        return str(own[0])
    stem, holders = wanted.wish, _holders(connection, wanted.wish, wanted.images)
    number = 1 if overwrite else hints.get(_folded(wanted.wish), 1)
    while holders and not (overwrite and all(holder[2] != run for holder in holders)):
        number += 1
        stem = f"{wanted.wish} ({number})"
        holders = _holders(connection, stem, wanted.images)
    if number > _MANY:
        # Of thousands of one name, each would have to look at all before it.
        hints[_folded(wanted.wish)] = number
    for source, key, _ in holders:
        # Its file is going to be replaced: if it is asked for again, it needs another.
        connection.execute("DELETE FROM inputs WHERE source = ? AND key = ?", (source, key))
    connection.execute(
        "INSERT INTO inputs (source, key, stem, claim, images, run) VALUES (?, ?, ?, ?, ?, ?)",
        (wanted.source, wanted.key, stem, _folded(stem), wanted.images, run),
    )
    return stem


def _folded(stem: str) -> str:
    """Returns a name as those file systems see it that ignore case and how accents are written."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def _holders(connection: sqlite3.Connection, stem: str, images: int) -> list[tuple[str, str, int]]:
    """Returns the inputs whose files could have the same names."""
    folded = _folded(stem)
    names = [folded, *(f"{folded}-{n}" for n in range(1, images + 1) if images > 1)]
    marks = ",".join("?" * len(names))
    rows: list[tuple[str, str, int]] = connection.execute(
        f"SELECT source, key, run FROM inputs WHERE claim IN ({marks})",  # noqa: S608 - marks
        names,
    ).fetchall()
    # "cat-2" may be what the second image of "cat" is called.
    if found := re.fullmatch(r"(.+)-([1-9][0-9]?)", folded):
        rows += connection.execute(
            "SELECT source, key, run FROM inputs WHERE claim = ? AND images > 1 AND images >= ?",
            (found[1], int(found[2])),
        ).fetchall()
    return rows
