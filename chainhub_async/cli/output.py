"""Writes to the standard streams, either of which may be closed early."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

import click


class Lines:
    """One of the standard streams, flushed after every line.

    Output problems must not lose paid results: once a line cannot be written, the rest are dropped
    and the work continues.

    Args:
        stream: the stream; None, as if closed before the process began, drops all lines.

    Attributes:
        problem: why lines were lost, unless the reader simply left.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.problem: str | None = None
        self._stream = stream

    def line(self, text: str | bytes) -> None:
        """Writes a line: bytes, or text with unencodable characters escaped."""
        if self._stream is None:
            return
        try:
            click.echo(self._encodable(text, self._stream), file=self._stream)
            self._stream.flush()
        except OSError as problem:
            if not isinstance(problem, BrokenPipeError):
                self.problem = problem.strerror or str(problem)
            _silence(self._stream)
            self._stream = None

    @staticmethod
    def _encodable(text: str | bytes, stream: TextIO) -> str | bytes:
        if isinstance(text, bytes):
            return text
        encoding = stream.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


def _silence(stream: TextIO) -> None:
    # Otherwise the interpreter tries to flush what is left, fails, and says so.
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def stdout() -> Lines:
    """Returns standard output as it is now."""
    return Lines(sys.stdout)


def stderr() -> Lines:
    """Returns standard error as it is now."""
    return Lines(sys.stderr)


def last_words(text: str) -> None:
    """Writes a line on standard error from a signal handler, past what may just be written."""
    with suppress(AttributeError, OSError, ValueError):  # there may be none
        os.write(sys.stderr.fileno(), f"{text}\n".encode("utf-8", "backslashreplace"))


def is_terminal(stream: TextIO | None) -> bool:
    """Returns whether a stream is a terminal; None is not."""
    return stream is not None and stream.isatty()


def are_one(first: TextIO | None, second: TextIO | None) -> bool:
    """Returns whether two streams lead to the same place, as after `2>&1`."""
    if first is None or second is None:
        return False
    try:
        return os.path.sameopenfile(first.fileno(), second.fileno())
    except (OSError, ValueError):  # such as a stream of a test, which has no file
        return False
