"""Parses option values: palettes, extra fields, lists of known values."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import click

from chainhub_async.errors import InvalidOptionError
from chainhub_async.models import ColorMember, ColorPalette


def known(what: str, values: type[Enum]) -> str:
    """Returns the help of an option with known values that accepts any text."""
    return (
        f"{what} Known: {', '.join(str(value) for value in values)}; other text is sent unchanged."
    )


def palette(_: click.Context, __: click.Parameter, text: str | None) -> ColorPalette | None:
    """Parses `EMBER`, or `#f80:0.6,#112233`.

    Raises:
        click.BadParameter: it is neither.
    """
    try:
        return None if text is None else palette_of(text)
    except InvalidOptionError as problem:
        raise click.BadParameter(problem.message) from None


def palette_of(text: str) -> ColorPalette:
    """Returns the palette that `EMBER`, or `#f80:0.6,#112233`, describes.

    Raises:
        InvalidOptionError: it is neither.
    """
    if not text.startswith("#"):
        return ColorPalette(name=text)
    return ColorPalette(members=[_member(part) for part in text.split(",")])


def _member(text: str) -> ColorMember:
    colour, colon, weight = text.strip().partition(":")
    try:
        number = float(weight) if colon else None
    except ValueError:
        raise InvalidOptionError(
            f"{weight!r} is not a valid weight; use the form #RRGGBB:0.5."
        ) from None
    return ColorMember(colour, color_weight=number)


def prompt(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Returns the prompt, unless it is blank: an unset variable would be paid for.

    Raises:
        click.BadParameter: it is blank.
    """
    if text is not None and not text.strip():
        raise click.BadParameter("it is empty; say what the new background shows.")
    return text


def extra(_: click.Context, __: click.Parameter, pairs: Sequence[str]) -> dict[str, Any] | None:
    """Parses repeated `NAME=VALUE`; a repeated name is sent as a repeated field.

    Raises:
        click.BadParameter: one of them has no `=`.
    """
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not of the form NAME=VALUE.")
        fields.setdefault(name, []).append(value)
    return fields or None
