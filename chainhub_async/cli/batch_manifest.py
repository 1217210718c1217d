"""Manifests: CSV or JSONL files with a row per image, read row by row as often as needed."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import attrs
import click

from chainhub_async.cli import exits
from chainhub_async.cli.batch_cells import COLUMNS, is_empty, load, value_of
from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.models import ReplaceBackground
from chainhub_async.resources import ideogram

_JSON_SUFFIXES = {".jsonl", ".ndjson"}
_SUFFIXES = {".csv", ".tsv", *_JSON_SUFFIXES}
_OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Of each pair a call takes one, so that a row that has one does not get the other by default.
_EXCLUDED = {
    "style_codes": "style_reference_images",
    "style_reference_images": "style_codes",
}

# Rows that cannot be used: so many are told of, and the others counted.
_MOST_TOLD = 20

# What returns a row, or raises; and the line at which it begins.
_Row = tuple[int, Callable[[], Mapping[str, Any]]]


def is_manifest(path: Path) -> bool:
    """Returns whether a file is a manifest, going by its name."""
    return path.suffix.lower() in _SUFFIXES


class ManifestError(click.ClickException):
    """A manifest cannot be used; the message names file and line, of each row that is at fault."""

    exit_code = exits.USAGE


@attrs.frozen(kw_only=True)
class Manifest:
    """The calls of a manifest; each iteration reads the file anew.

    Attributes:
        path: the file.
        defaults: the options for rows that leave them empty.
    """

    path: Path
    defaults: Mapping[str, Any]

    def __iter__(self) -> Iterator[ReplaceBackground]:
        with self._reading() as file:
            for line, row in self._rows(file):
                yield self._call(line, row())

    def check(self) -> int:
        """Returns how many rows there are, having checked everything but the images.

        Raises:
            ManifestError: there are none, or some are invalid.
        """
        number = bad = 0
        told: list[str] = []
        with self._reading() as file:
            for problem in self._problems(file):
                number += 1
                if problem is not None:
                    bad += 1
                    if len(told) < _MOST_TOLD:
                        told.append(problem.message)
        if bad > len(told):
            told.append(f"... and {bad - len(told):,} more rows that cannot be used.")
        if told:
            raise ManifestError("\n".join(told))
        if not number:
            raise ManifestError(f"{self._shown} contains no rows, only column names or nothing.")
        return number

    def _problems(self, file: TextIO) -> Iterator[ManifestError | None]:
        """Yields what is wrong with each row, or None."""
        try:
            for line, row in self._rows(file):
                try:
                    self._check(line, row())
                except ManifestError as problem:
                    yield problem
                else:
                    yield None
        except ManifestError as problem:  # what follows cannot be read
            yield problem

    def _check(self, line: int, row: Mapping[str, Any]) -> None:
        call = self._call(line, row)
        with self._at(line):
            ideogram.checked_options(call)
            ideogram.style_references(call)

    @property
    def _shown(self) -> str:
        return repr(printable(self.path, 300))

    @contextmanager
    def _reading(self) -> Generator[TextIO, None, None]:
        try:
            if not self.path.is_file():
                raise ManifestError(
                    f"{self._shown} is not a regular file; a manifest is read more than once."
                )
            with self.path.open("rb") as raw:
                if raw.read(2) in _OTHER_ENCODINGS:
                    raise ManifestError(f"{self._shown} is UTF-16; save it as UTF-8 (CSV UTF-8).")
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield file
        except OSError as problem:
            raise ManifestError(f"{self._shown} cannot be read: {problem.strerror}.") from None

    @contextmanager
    def _at(self, line: int) -> Generator[None, None, None]:
        try:
            yield
        except InvalidOptionError as problem:
            raise self._error(line, problem.message) from None

    def _error(self, line: int, message: str) -> ManifestError:
        return ManifestError(f"{self._shown}, line {line}: {message}")

    def _rows(self, file: TextIO) -> Iterator[_Row]:
        is_json = self.path.suffix.lower() in _JSON_SUFFIXES
        try:
            yield from self._json_rows(file) if is_json else self._csv_rows(file)
        except UnicodeDecodeError:
            raise self._error(
                self._undecodable(), "it is not UTF-8; save the file as UTF-8 (CSV UTF-8)."
            ) from None

    def _undecodable(self) -> int:
        """Returns the line at which decoding fails; text is decoded in larger steps."""
        line = 0
        with self.path.open("rb") as raw, suppress(UnicodeDecodeError):
            for line, text in enumerate(raw, start=1):  # noqa: B007 - see below
                text.decode()
        return line

    def _json_rows(self, file: TextIO) -> Iterator[_Row]:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, partial(self._json_row, line, text)

    def _json_row(self, line: int, text: str) -> Mapping[str, Any]:
        with self._at(line):
            row = load("The line", text)
        if not isinstance(row, dict):
            raise self._error(line, "a JSON object is expected on each line.")
        self._check_columns(line, row)
        return row

    def _csv_rows(self, file: TextIO) -> Iterator[_Row]:
        columns: Sequence[str] | None = None
        for line, cells in self._records(file):
            if columns is None:
                columns = [cell.strip().lower() for cell in cells]
                self._check_header(line, columns)
            else:
                yield line, partial(self._csv_row, line, columns, cells)

    def _csv_row(
        self, line: int, columns: Sequence[str], cells: Sequence[str]
    ) -> Mapping[str, Any]:
        if any(not is_empty(cell) for cell in cells[len(columns) :]):
            raise self._error(
                line,
                f"it has {len(cells)} values, but there are {len(columns)} columns; a value "
                'that contains the separator is written in "quotes".',
            )
        row = dict(zip(columns, cells, strict=False))
        if not is_empty(row.pop("", None)):
            raise self._error(line, "it has a value in a column without a name.")
        return row

    def _records(self, file: TextIO) -> Iterator[tuple[int, list[str]]]:
        """Yields the records that are not blank, with the line at which each begins."""
        records = csv.reader(file, delimiter=self._delimiter(file), strict=True)
        line = 1
        while True:
            try:
                cells = next(records)
            except StopIteration:
                return
            except csv.Error as problem:
                raise self._error(
                    line, f"the record that begins here is not valid CSV: {problem}."
                ) from None
            if any(not is_empty(cell) for cell in cells):
                yield line, cells
            line = records.line_num + 1

    def _delimiter(self, file: TextIO) -> str:
        """Returns what separates the columns: some spreadsheets save semicolons or tabs."""
        header = next((line for line in iter(file.readline, "") if line.strip()), "")
        file.seek(0)
        return max(",", ";", "\t", key=header.count)

    def _check_header(self, line: int, columns: Sequence[str]) -> None:
        named = [column for column in columns if column]
        self._check_columns(line, named)
        if twice := [column for column in COLUMNS if named.count(column) > 1]:
            raise self._error(line, f"the column {twice[0]} stands there twice.")
        if "image" not in named:
            raise self._error(
                line, f"there is no column image; the columns are {', '.join(COLUMNS)}."
            )

    def _check_columns(self, line: int, columns: Iterable[str]) -> None:
        unknown = [column for column in columns if column not in COLUMNS]
        if unknown:
            raise self._error(
                line,
                f"there is no column {printable(unknown[0], 60)!r}; the columns are "
                f"{', '.join(COLUMNS)}.",
            )

    def _call(self, line: int, row: Mapping[str, Any]) -> ReplaceBackground:
        folder = self.path.parent
        with self._at(line):
            given = {
                column: value_of(column, cell, folder)
                for column, cell in row.items()
                if not is_empty(cell)
            }
        if "image" not in given:
            raise self._error(line, "image is empty; a path is expected.")
        left_out = {_EXCLUDED.get(column) for column in given}
        defaults = {name: each for name, each in self.defaults.items() if name not in left_out}
        arguments = {**defaults, **given}
        if "prompt" not in arguments:
            raise self._error(
                line, "it has no prompt, and there is no --prompt to take in its place."
            )
        return ReplaceBackground(arguments.pop("image"), **arguments)
