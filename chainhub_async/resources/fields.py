"""Checks options and turns them into the parts of a request. No I/O."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.images import ImageSource
from chainhub_async.models import ColorPalette
from chainhub_async.transport.messages import Part

_BYTES_LIKE = (str, bytes, bytearray, memoryview)


def text(name: str, value: Any, shown: str | None = None) -> list[Part]:
    """Returns a text field, called `shown` in messages. The text is sent unchanged."""
    if value is None:
        return []
    if not isinstance(value, str):
        raise InvalidOptionError(f"{shown or name} is a {type(value).__name__}; text is expected.")
    try:
        return [Part.text(name, _plain(value))]
    except UnicodeEncodeError as problem:
        raise InvalidOptionError(
            f"{shown or name} contains a lone surrogate at position {problem.start}, which cannot "
            "be sent; valid Unicode text is expected."
        ) from None


def _plain(value: str) -> str:
    # An enumeration may be text as well, and show its name where its text is meant.
    return str.__str__(value)


def option(name: str, value: Any) -> list[Part]:
    """Returns the field of an open enumeration: any text except an empty one."""
    if value == "":
        raise InvalidOptionError(f"{name} is empty; leave it out for the server's default.")
    return text(name, value)


def integer(name: str, value: Any, low: int, high: int) -> list[Part]:
    """Returns a whole-number field."""
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOptionError(
            f"{name} is {_shown(value)}; a whole number from {low} to {high} is allowed."
        )
    return [Part.text(name, int.__repr__(value))]


def _shown(value: Any) -> str:
    try:
        return printable(repr(value), 60)
    except ValueError:  # Python does not write out numbers of thousands of digits
        return "a number of thousands of digits"


def palette(name: str, value: Any) -> list[Part]:
    """Returns the palette as one JSON field."""
    if value is None:
        return []
    if isinstance(value, str):
        option(name, value)
        value = ColorPalette(name=value)
    if not isinstance(value, ColorPalette):
        raise InvalidOptionError(
            f"{name} is a {type(value).__name__}; a ColorPalette or a palette's name is expected."
        )
    if value.name is not None:
        return [Part.json(name, {"name": _plain(value.name)})]
    members = [
        {"color_hex": member.color_hex}
        if member.color_weight is None
        else {"color_hex": member.color_hex, "color_weight": member.color_weight}
        for member in value.members or ()
    ]
    return [Part.json(name, {"members": members})]


def style_codes(name: str, value: Any) -> list[Part]:
    """Returns one field for each code, all of the same name."""
    codes = items(name, value, "codes")
    for code in codes:
        if not isinstance(code, str) or not re.fullmatch("[0-9A-Fa-f]{8}", code):
            raise InvalidOptionError(
                f"{name} contains {printable(repr(code), 60)}; each code is 8 hexadecimal digits."
            )
    return [Part.text(name, _plain(code)) for code in codes]


def items(name: str, value: Any, what: str) -> list[Any]:
    """Returns the items of a list option; a single string in its place is a mistake."""
    if value is None:
        return []
    if isinstance(value, _BYTES_LIKE) or not isinstance(value, Sequence):
        raise InvalidOptionError(
            f"{name} is a {type(value).__name__}; a list of {what} is expected."
        )
    if not value:
        raise InvalidOptionError(f"{name} is an empty list; leave it out instead.")
    return list(value)


def further(option: str, fields: Any, known: frozenset[str]) -> list[Part]:
    """Returns the fields in `option`, for which this version has no parameter.

    Text, numbers and booleans become text, an `ImageSource` a file, a list one field for each
    item, a mapping JSON.
    """
    if fields is None:
        return []
    if not isinstance(fields, Mapping):
        raise InvalidOptionError(f"{option} is a {type(fields).__name__}; a dict is expected.")
    parts: list[Part] = []
    for name, value in fields.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.\[\]-]{1,100}", name, re.ASCII):
            raise InvalidOptionError(
                f"{option} has the name {printable(repr(name), 60)}; up to 100 letters, digits and "
                "_ . - [ ] are allowed."
            )
        if name in known:
            raise InvalidOptionError(
                f"{option} contains {name!r}; use the parameter {name}= instead."
            )
        members = value if isinstance(value, list | tuple) else [value]
        parts += [part for member in members for part in _extra(option, _plain(name), member)]
    return parts


def _extra(option: str, name: str, value: Any) -> list[Part]:
    shown = f"{option}[{name!r}]"
    if value is None or isinstance(value, str):
        return text(name, value, shown)
    if isinstance(value, bool):
        return [Part.text(name, "true" if value else "false")]
    if isinstance(value, ImageSource):
        return [Part.image(name, value)]
    try:
        # By the plain types, whatever those derived from them show.
        if isinstance(value, int):
            return [Part.text(name, int.__repr__(value))]
        if isinstance(value, float) and math.isfinite(value):
            return [Part.text(name, float.__repr__(value))]
        if isinstance(value, Mapping):
            return [Part.json(name, dict(value))]
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidOptionError(f"{shown} cannot be sent: {problem}.") from None
    what = value if isinstance(value, float) else f"a {type(value).__name__}"
    raise InvalidOptionError(
        f"{shown} is {what}; text, a finite number, a boolean, an ImageSource, a list of them or "
        "a dict is expected."
    )
