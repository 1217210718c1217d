"""Options → the parts of a request, each checked first and refused in a sentence. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.images import ImageSource
from chainhub_async.models import ColorPalette
from chainhub_async.transport.messages import Part

_BYTES_LIKE = (str, bytes, bytearray, memoryview)


def text(name: str, value: Any) -> list[Part]:
    """Returns a text field; the text itself is sent byte for byte."""
    if value is None:
        return []
    if not isinstance(value, str):
        raise InvalidOptionError(f"{name} is a {type(value).__name__}; text is expected.")
    # An enumeration here is text as well, but shows its name where its value is meant.
    plain = str(value.value) if isinstance(value, Enum) else value
    try:
        return [Part.text(name, plain)]
    except UnicodeEncodeError as problem:
        raise InvalidOptionError(
            f"{name} holds half a surrogate pair at position {problem.start}: that is no "
            "character and cannot be sent."
        ) from None


def option(name: str, value: Any) -> list[Part]:
    """Returns the field of an open enumeration: any text but an empty one."""
    if value == "":
        raise InvalidOptionError(f"{name} is empty; leave it out for the server's default.")
    return text(name, value)


def integer(name: str, value: Any, low: int, high: int) -> list[Part]:
    """Returns a whole-number field."""
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOptionError(
            f"{name} is {printable(repr(value), 60)}; a whole number from {low} to {high} is "
            "allowed."
        )
    return [Part.text(name, str(value))]


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
    if value.members is None:
        return [Part.json(name, {"name": str(value.name)})]
    members = [
        {"color_hex": member.color_hex}
        if member.color_weight is None
        else {"color_hex": member.color_hex, "color_weight": member.color_weight}
        for member in value.members
    ]
    return [Part.json(name, {"members": members})]


def style_codes(name: str, value: Any) -> list[Part]:
    """Returns one field for each code, all of the same name."""
    codes = items(name, value, "codes")
    for code in codes:
        if not isinstance(code, str) or not re.fullmatch("[0-9A-Fa-f]{8}", code):
            raise InvalidOptionError(
                f"{name} holds {printable(repr(code), 60)}; each code is 8 hexadecimal digits."
            )
    return [Part.text(name, code) for code in codes]


def items(name: str, value: Any, what: str) -> list[Any]:
    """Returns the members of a list option; a single text in its place is a slip."""
    if value is None:
        return []
    if isinstance(value, _BYTES_LIKE) or not isinstance(value, Sequence):
        raise InvalidOptionError(
            f"{name} is a {type(value).__name__}; a list of {what} is expected."
        )
    if not value:
        raise InvalidOptionError(f"{name} is an empty list; leave it out instead.")
    return list(value)


def further(fields: Any, known: frozenset[str]) -> list[Part]:
    """Returns fields this version has no parameter for.

    Text, numbers and booleans become text, an `ImageSource` a file, a list one field for each
    member, a mapping JSON.
    """
    if fields is None:
        return []
    if not isinstance(fields, Mapping):
        raise InvalidOptionError(f"extra_fields is a {type(fields).__name__}; a dict is expected.")
    parts: list[Part] = []
    for name, value in fields.items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w.\[\]-]{1,100}", name, re.ASCII):
            raise InvalidOptionError(
                f"extra_fields names {printable(repr(name), 60)}; letters, digits and "
                "_ . - [ ] are allowed."
            )
        if name in known:
            raise InvalidOptionError(f"extra_fields names {name!r}; use the parameter {name}=.")
        members = value if isinstance(value, list | tuple) else [value]
        parts += [part for member in members for part in _extra(name, member)]
    return parts


def _extra(name: str, value: Any) -> list[Part]:
    if value is None or isinstance(value, str):
        return text(name, value)
    if isinstance(value, bool):
        return [Part.text(name, "true" if value else "false")]
    if isinstance(value, int | float):
        return [Part.text(name, repr(value))]
    if isinstance(value, ImageSource):
        return [Part.image(name, value)]
    if isinstance(value, Mapping):
        try:
            return [Part.json(name, dict(value))]
        except (TypeError, ValueError, RecursionError) as problem:
            raise InvalidOptionError(f"extra_fields[{name!r}] is not JSON: {problem}.") from None
    raise InvalidOptionError(
        f"extra_fields[{name!r}] is a {type(value).__name__}; text, a number, a boolean, an "
        "ImageSource, a list of them or a dict is expected."
    )
