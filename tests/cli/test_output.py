"""Streams that end early, and encodings that lack letters."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chainhub_async.cli.output import Lines, is_terminal
from chainhub_async.testing import Emulator

from .conftest import command, names

Photos = Callable[[int], list[str]]


def test_a_reader_that_leaves_costs_nothing(
    emulator: Emulator, photos: Photos, place: Path
) -> None:
    """With standard output gone, every photo is saved all the same, and no traceback is shown."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = command("replace-background", "--prompt", "x", "-o", "out", *photos(3), "-q")
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            arguments, stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(names(place / "out")) == 3


def test_both_streams_gone(emulator: Emulator, photos: Photos, place: Path) -> None:
    """Not even a broken standard error costs a result."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = command("replace-background", "--prompt", "x", "-o", "out", *photos(2))
    with os.fdopen(writing, "wb") as gone:
        done = subprocess.run(arguments, stdout=gone, stderr=gone, check=False, timeout=30)
    assert done.returncode == 0
    assert len(names(place / "out")) == 2


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["paths", "json"])
def test_a_full_disk_is_told(
    emulator: Emulator, photos: Photos, place: Path, options: list[str]
) -> None:
    """The photos are saved, and that the list of them was lost is said and shows in the code."""
    arguments = command("replace-background", "--prompt", "x", "-o", "out", *photos(2), *options)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, check=False)
    assert b"Standard output is incomplete: No space left on device." in done.stderr
    assert done.returncode == 1
    assert len(names(place / "out")) == 2


def test_a_stream_closed_from_the_start() -> None:
    """What has no stream is dropped, without a problem to tell."""
    lines = Lines(None)
    lines.line("dropped")
    assert lines.problem is None
    assert not is_terminal(None)


@pytest.mark.parametrize("text", ["ä … \U0001f408", "\udcff"])
def test_letters_the_encoding_lacks_are_escaped(text: str) -> None:
    """No letter of a message keeps it from being shown."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Lines(stream).line(text)
    assert raw.getvalue() == text.encode("ascii", "backslashreplace") + b"\n"


def test_a_stream_without_a_descriptor_can_fail_too() -> None:
    """A stream that is no file is given up quietly."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    lines = Lines(Full())
    lines.line("lost")
    lines.line("dropped")


def test_help_into_a_closed_pipe() -> None:
    """Even help ends without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        done = subprocess.run(
            command("--help"), stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=30
        )
    assert b"Traceback" not in done.stderr
