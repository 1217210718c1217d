"""What a manifest's cells hold → the arguments of a call. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chainhub_async.cli.options import palette_of
from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.models import ColorMember, ColorPalette

_Parse = Callable[[str, Any, Path], Any]


def is_empty(cell: Any) -> bool:
    """Returns whether a cell leaves the value to the command line."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def value_of(column: str, cell: Any, folder: Path) -> Any:
    """Returns the argument that a cell stands for.

    Args:
        column: its column, one of `COLUMNS`.
        cell: text, as in CSV, or whatever a JSON value is.
        folder: what paths are relative to.

    Raises:
        InvalidOptionError: it stands for none.
    """
    return _PARSERS[column](column, cell, folder)


def load(column: str, text: str) -> Any:
    """Returns what JSON text says.

    Raises:
        InvalidOptionError: it is not JSON, or names something twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as problem:
        reason = f"{problem.msg} at character {problem.pos + 1}"
    except (ValueError, RecursionError) as problem:
        reason = str(problem)
    raise InvalidOptionError(f"{column} is not valid JSON: {printable(reason, 200)}.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a value that JSON knows")


def _text(column: str, cell: Any, _: Path) -> str:
    if not isinstance(cell, str):
        raise InvalidOptionError(f"{column} is {_shown(cell)}; text is expected.")
    return cell


def _word(column: str, cell: Any, folder: Path) -> str:
    return _text(column, cell, folder).strip()


def _path(column: str, cell: Any, folder: Path) -> str:
    return str(folder / _text(column, cell, folder))


def _number(column: str, cell: Any, _: Path) -> Any:
    if not isinstance(cell, str):
        return cell  # the client judges it
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", cell):
        raise InvalidOptionError(f"{column} is {_shown(cell)}; a whole number is expected.")
    return int(cell)


def _list(column: str, cell: Any, _: Path) -> list[Any]:
    if isinstance(cell, str):
        text = cell.strip()
        if not text.startswith("["):
            return [part.strip() for part in text.split(";") if part.strip()]
        cell = load(column, text)
    if not isinstance(cell, list):
        raise InvalidOptionError(
            f"{column} is {_shown(cell)}; a list is expected, or text with ; between its items."
        )
    return cell


def _paths(column: str, cell: Any, folder: Path) -> list[str]:
    return [_path(column, each, folder) for each in _list(column, cell, folder)]


def _palette(column: str, cell: Any, _: Path) -> ColorPalette:
    if isinstance(cell, str):
        text = cell.strip()
        if not text.startswith(("{", "[")):
            return palette_of(text)
        cell = load(column, text)
    if isinstance(cell, list):
        cell = {"members": cell}
    if not isinstance(cell, Mapping) or set(cell) - {"name", "members"}:
        raise InvalidOptionError(
            f"{column} is {_shown(cell)}; a palette's name, colours such as '#ff8800:0.6,#123', or "
            'JSON with "name" or "members" is expected.'
        )
    members = cell.get("members")
    if members is not None and not isinstance(members, list):
        raise InvalidOptionError(
            f"The members of {column} are {_shown(members)}; a list is expected."
        )
    return ColorPalette(
        name=cell.get("name"), members=None if members is None else [_member(m) for m in members]
    )


def _member(told: Any) -> ColorMember:
    if isinstance(told, str):
        return ColorMember(told)
    if not isinstance(told, Mapping) or set(told) - {"color_hex", "color_weight"}:
        raise InvalidOptionError(
            f'A colour is {_shown(told)}; text such as "#ff8800", or JSON with "color_hex" and '
            '"color_weight", is expected.'
        )
    return ColorMember(told.get("color_hex", ""), color_weight=told.get("color_weight"))


def _fields(column: str, cell: Any, _: Path) -> Mapping[str, Any]:
    found = load(column, cell) if isinstance(cell, str) else cell
    if not isinstance(found, Mapping):
        raise InvalidOptionError(
            f'{column} is {_shown(found)}; a JSON object such as {{"name": "value"}} is expected.'
        )
    return found


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value), 60).join("''")


_PARSERS: dict[str, _Parse] = {
    "image": _path,
    "prompt": _text,
    "magic_prompt": _word,
    "num_images": _number,
    "seed": _number,
    "rendering_speed": _word,
    "style_preset": _word,
    "color_palette": _palette,
    "style_codes": _list,
    "style_reference_images": _paths,
    "extra_fields": _fields,
}

COLUMNS = tuple(_PARSERS)
"""The columns of a manifest: the arguments of a `ReplaceBackground`."""
