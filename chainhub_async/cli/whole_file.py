"""Writes a file completely or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from chainhub_async.cli.problems import Failed
from chainhub_async.errors import printable
from chainhub_async.files import PartFile, publish_as

_STEP = 256


def write(path: Path, pieces: Iterable[str]) -> None:
    """Writes text as UTF-8; an existing file is replaced once the new one is complete.

    Raises:
        Failed: it cannot be written; an existing file is as it was.
    """
    part = PartFile(path.parent, path.name)
    try:
        part.write(b"")
        for step in _steps(pieces):
            part.write(step.encode("utf-8", "backslashreplace"))
        part.publish(lambda written: publish_as(path, written, ""))
    except OSError as problem:
        reason = problem.strerror or problem
        raise Failed(f"{printable(path)!r} cannot be written: {reason}.") from None
    finally:
        part.drop()


def _steps(pieces: Iterable[str]) -> Iterator[str]:
    rest = iter(pieces)
    yield from iter(partial(_join, rest), "")


def _join(pieces: Iterator[str]) -> str:
    return "".join(itertools.islice(pieces, _STEP))
