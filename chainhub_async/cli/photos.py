"""The photos named on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import click

from chainhub_async.cli.output import is_terminal
from chainhub_async.errors import printable
from chainhub_async.images import IMAGE_LIMIT

_STDIN = "-"


@attrs.frozen(kw_only=True)
class Photo:
    """One photo to process.

    Attributes:
        number: 1 for the first on the command line.
        name: as given there.
        image: the client's argument: the path, or the bytes read from standard input.
        stem: the file name of its results, without suffix.
    """

    number: int
    name: str
    image: str | bytes = attrs.field(repr=False)
    stem: str

    @property
    def shown(self) -> str:
        """The name, safe to print."""
        return "standard input" if isinstance(self.image, bytes) else printable(self.name, 200)


def photos_of(names: Sequence[str]) -> list[Photo]:
    """Returns the photos with these names; `-` reads standard input to its end, now.

    Raises:
        click.UsageError: standard input is named twice, or is a terminal.
    """
    if names.count(_STDIN) > 1:
        raise click.UsageError("Standard input (-) can be read only once; it is given twice.")
    return [
        Photo(number=number, name=name, image=_stdin(), stem="stdin")
        if name == _STDIN
        else Photo(number=number, name=name, image=name, stem=Path(name).stem)
        for number, name in enumerate(names, start=1)
    ]


def _stdin() -> bytes:
    if is_terminal(sys.stdin):
        raise click.UsageError(
            "Standard input (-) is a terminal; pipe or redirect a photo into it."
        )
    # One byte more than allowed, so that the client can tell that it is too much.
    return sys.stdin.buffer.read(IMAGE_LIMIT + 1) if sys.stdin is not None else b""
