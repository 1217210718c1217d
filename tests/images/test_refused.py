"""What is no image that can be sent is refused in one sentence, before any connection."""

from __future__ import annotations

import array
import gzip
import io
import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainhub_async import (
    AsyncChainHub,
    Billed,
    ChainHub,
    ImageSource,
    InvalidImageError,
    InvalidRequestError,
)
from chainhub_async.stamps import open_regular
from chainhub_async.testing import Emulator

from .pictures import foreign, png_of, samples

LIMIT = 10 * 1024 * 1024
PNG = samples()["png"]


class _Reader:
    """A file object that gives, or raises, one thing."""

    def __init__(self, gives: Any) -> None:
        self._gives = gives

    def read(self, size: int = -1) -> Any:
        if isinstance(self._gives, Exception):
            raise self._gives
        return self._gives


class _AsyncReader(_Reader):
    async def read(self, size: int = -1) -> Any:
        return super().read(size)


class _WrappedReader(_AsyncReader):
    """Asynchronous, but does not look it."""

    def read(self, size: int = -1) -> Any:
        return super().read(size)


class _Takes:
    def read(self) -> bytes:
        return PNG


class _Nowhere:
    def __init__(self, gives: Any) -> None:
        self._gives = gives

    def __fspath__(self) -> Any:
        if isinstance(self._gives, Exception):
            raise self._gives
        return self._gives


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _holding(data: bytes, path: Path, _: ExitStack) -> Path:
    return _written(path, data)


def _sparse(path: Path, size: int) -> Path:
    _written(path, PNG)
    os.truncate(path, size)
    return path


def _link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def _loop(path: Path, _: ExitStack) -> Path:
    _link(path, "other")
    _link(path.parent / "other", path.name)
    return path


def _pipe(path: Path, _: ExitStack) -> Path:
    os.mkfifo(path)
    return path


def _socket(_: Path, opened: ExitStack) -> str:
    # Not in tmp_path: the path of a socket has at most 107 characters.
    directory = opened.enter_context(tempfile.TemporaryDirectory())
    listening = opened.enter_context(socket.socket(socket.AF_UNIX))
    listening.bind(f"{directory}/s")
    return f"{directory}/s"


def _below_a_file(path: Path, _: ExitStack) -> Path:
    return _written(path, PNG) / "cat.png"


def _released(*_: Any) -> memoryview:
    view = memoryview(PNG)
    view.release()
    return view


def _closed(file: Any) -> Any:
    file.close()
    return file


def _shut(path: Path, _: ExitStack) -> Any:
    with _written(path, PNG).open("rb") as file:
        return file


def _shut_spool(_: Path, __: ExitStack) -> Any:
    with tempfile.SpooledTemporaryFile() as file:
        return file


def _zeros(_: Path, opened: ExitStack) -> Any:
    return opened.enter_context(Path("/dev/zero").open("rb"))


def _no_gzip(path: Path, opened: ExitStack) -> Any:
    return opened.enter_context(gzip.open(_written(path, PNG)))


def _at_end(path: Path, opened: ExitStack) -> Any:
    file = opened.enter_context(_written(path, PNG).open("rb"))
    file.seek(0, io.SEEK_END)
    return file


def _past_the_end(path: Path, opened: ExitStack) -> Any:
    file = opened.enter_context(_written(path, PNG).open("rb"))
    file.seek(100_000)
    return file


def _cut_gzip(path: Path, opened: ExitStack) -> Any:
    _written(path, gzip.compress(PNG)[:-20])
    return opened.enter_context(gzip.open(path))


def _opened(mode: str, **options: Any) -> Callable[[Path, ExitStack], Any]:
    return lambda path, opened: opened.enter_context(_written(path, PNG).open(mode, **options))


BAD: dict[str, tuple[Callable[[Path, ExitStack], Any], str]] = {
    "missing": (lambda path, _: path, "does not exist"),
    "missing directory": (lambda path, _: path / "a" / "b.png", "does not exist"),
    "empty": (lambda path, _: _written(path, b""), "is empty"),
    "cut": (lambda path, _: _written(path, PNG[:-1]), "is truncated"),
    "too large": (lambda path, _: _sparse(path, LIMIT + 1), "10,485,761 bytes; at most 10,485,760"),
    "far too large": (lambda path, _: _sparse(path, 1 << 40), "1,099,511,627,776 bytes; at most"),
    "directory": (lambda path, _: path.parent, "is a directory"),
    "pipe": (_pipe, "is a pipe"),
    "socket": (_socket, "is a socket"),
    "endless device": (lambda _, __: "/dev/zero", "is a device"),
    "empty device": (lambda _, __: Path("/dev/null"), "is a device"),
    "dangling link": (lambda path, _: _link(path, "nowhere"), "does not exist"),
    "loop of links": (_loop, "Too many levels of symbolic links"),
    "link to a directory": (lambda path, _: _link(path, "."), "is a directory"),
    "below a file": (_below_a_file, "Not a directory"),
    "name too long": (lambda path, _: path.parent / ("x" * 300), "File name too long"),
    "base64": (lambda _, __: "iVBORw0KGgo" * 1000, "File name too long"),
    "name with NUL": (lambda path, _: f"{path}\0.png", "embedded null"),
    "name with a surrogate": (lambda path, _: f"{path}\ud800", "surrogates not allowed"),
    "name with control characters": (lambda path, _: f"{path}\r\n\x1b[2J", r"\\r\\n\\x1b[2J"),
    "empty name": (lambda _, __: "", "path is empty"),
    "https": (lambda _, __: "https://images.example/cat.png", "URLs cannot be sent"),
    "http": (lambda _, __: Path("http://localhost/cat.png"), "does not exist"),
    "file": (lambda path, _: _written(path, PNG).as_uri(), "URLs cannot be sent"),
    "path of no text": (lambda _, __: _Nowhere(3), "path cannot be read"),
    "path that fails": (lambda _, __: _Nowhere(RuntimeError("offline")), "offline"),
    "path that is missing": (lambda _, __: _Nowhere(FileNotFoundError(2, "x")), "does not exist"),
    "no bytes": (lambda _, __: b"", "is empty"),
    "no bytearray": (lambda _, __: bytearray(), "is empty"),
    "cut bytes": (lambda _, __: PNG[:-1], "is truncated"),
    "too many bytes": (lambda _, __: png_of(LIMIT + 1), "10,485,761 bytes; at most"),
    "too large a view": (lambda _, __: memoryview(bytearray(LIMIT + 1)), "at most"),
    "a path in bytes": (lambda path, _: os.fsencode(path), "not a JPEG, PNG or WebP"),
    "released view": (_released, "released memoryview"),
    "empty BytesIO": (lambda _, __: io.BytesIO(), "at its end"),
    "cut BytesIO": (lambda _, __: io.BytesIO(PNG[:-1]), "is truncated"),
    "too large a BytesIO": (lambda _, __: io.BytesIO(png_of(LIMIT + 1)), "at most"),
    "closed BytesIO": (lambda _, __: _closed(io.BytesIO(PNG)), "closed file"),
    "closed file": (_shut, "closed file"),
    "closed spool": (_shut_spool, "cannot be read"),
    "file at its end": (_at_end, "seek to where the image starts"),
    "file past its end": (_past_the_end, "seek to where the image starts"),
    "text file": (_opened("r", encoding="utf-8"), "binary mode"),
    "text file of any bytes": (_opened("r", encoding="latin-1"), "binary mode"),
    "text in memory": (lambda _, __: io.StringIO("words"), "binary mode"),
    "file for writing": (_opened("wb"), "cannot be read"),
    "file of a device": (
        _zeros,
        "at most",
    ),
    "cut gzip": (_cut_gzip, "cannot be read"),
    "wrong gzip": (
        _no_gzip,
        "gzip",
    ),
    "reader that fails": (
        lambda _, __: _Reader(RuntimeError("no\nline")),
        r"cannot be read: no\nline.",
    ),
    "reader that fails silently": (lambda _, __: _Reader(EOFError()), "cannot be read: EOFError."),
    "reader of None": (lambda _, __: _Reader(None), "returns NoneType, not bytes"),
    "reader of text": (lambda _, __: _Reader("text"), "returns str, not bytes"),
    "reader of nothing": (lambda _, __: _Reader(b""), "at its end"),
    "reader without size": (lambda _, __: _Takes(), "cannot be read"),
    "async reader of text": (lambda _, __: _AsyncReader("text"), "returns str, not bytes"),
    "async reader that fails": (lambda _, __: _AsyncReader(OSError(5, "disk")), "disk"),
    "endless async reader": (lambda _, __: _AsyncReader(PNG), "at most"),
    "reader of coroutines": (lambda _, __: _WrappedReader(PNG), "returns coroutine, not bytes"),
    "None": (lambda _, __: None, "image is a NoneType"),
    "number": (lambda _, __: 3, "image is a int"),
    "list": (lambda _, __: ["cat.png"], "image is a list"),
    "array": (lambda _, __: array.array("B", PNG), "image is a array"),
    "class": (lambda _, __: io.BytesIO, "cannot be read"),
    **{
        name: (partial(_holding, data), "not a JPEG, PNG or WebP")
        for name, data in foreign().items()
    },
}


def _check_refusal(error: InvalidRequestError, told: str) -> None:
    message = str(error)
    assert type(error) is InvalidImageError
    assert told in message
    assert message.endswith(".")
    assert not message.endswith("..")
    assert message.isprintable()
    assert len(message) < 500
    assert (error.billed, error.attempts, error.bytes_sent) == (Billed.NO, (), 0)
    assert str(pickle.loads(pickle.dumps(error))) == message


@pytest.mark.anyio
@pytest.mark.parametrize("name", sorted(BAD))
async def test_a_bad_image_is_refused_before_any_connection(
    name: str, tmp_path: Path, opened: ExitStack, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Each kind of bad image is one InvalidImageError that says what is wrong; nothing is sent."""
    make, told = BAD[name]
    image = make(tmp_path / "cat.png", opened)
    with anyio.fail_after(10), pytest.raises(InvalidRequestError) as refused:
        await hub.ideogram.replace_background(image, prompt="x")
    _check_refusal(refused.value, told)
    assert emulator.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["missing", "cut", "pipe", "text file", "None", "gif", "https"])
async def test_a_bad_style_reference_is_refused_too(
    name: str, tmp_path: Path, opened: ExitStack, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Style references take the forms of an image, and are refused as images are."""
    make, told = BAD[name]
    image = make(tmp_path / "cat.png", opened)
    with anyio.fail_after(10), pytest.raises(InvalidRequestError) as refused:
        await hub.ideogram.replace_background(PNG, style_reference_images=[PNG, image])
    _check_refusal(refused.value, told)
    assert emulator.connections == 0


def test_the_blocking_client_refuses_alike(tmp_path: Path) -> None:
    """The blocking front door raises the same error before any connection."""
    with Emulator.in_thread() as emulator:
        with ChainHub(emulator.api_key, base_url=emulator.base_url) as hub:
            with pytest.raises(InvalidImageError, match="is a directory"):
                hub.ideogram.replace_background(tmp_path)
            assert emulator.connections == 0
            hub.ideogram.replace_background(PNG)
        assert emulator.connections == 1


@contextmanager
def _as_nobody() -> Generator[None]:
    """Root may read everything: gives that up for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_one_may_not_read_is_refused(tmp_path: Path) -> None:
    """The system's own reason is given."""
    path = _written(tmp_path / "cat.png", PNG)
    path.chmod(0)
    with _as_nobody(), pytest.raises(InvalidImageError, match="Permission denied"):
        ImageSource.from_path(path)


@pytest.mark.anyio
async def test_a_file_object_of_a_changed_file_is_refused_or_read_whole(tmp_path: Path) -> None:
    """A file that is written to while it is open is measured as it is by now."""
    path = _written(tmp_path / "cat.png", PNG)
    with path.open("rb") as file:
        path.write_bytes(PNG + bytes(100))
        assert (await ImageSource.of(file)).size == len(PNG) + 100
        os.truncate(path, len(PNG) - 1)
        with pytest.raises(InvalidImageError, match="is truncated"):
            await ImageSource.of(file)


@pytest.mark.parametrize(
    "change",
    [
        {"media_type": "image/gif"},
        {"media_type": 'image/png"\r\nX-Injected: 1'},
        {"size": 5},
        {"data": None},
        {"path": Path("x")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_source_put_together_by_hand_must_make_sense(change: dict[str, Any]) -> None:
    """An ImageSource that describes no image cannot be built, so that it cannot be sent."""
    source = ImageSource.from_bytes(PNG)
    if "path" in change:
        change = {**change, "data": None}
    with pytest.raises(InvalidImageError, match="from_path or from_bytes"):
        attrs.evolve(source, **change)


def test_a_source_says_nothing_of_its_bytes() -> None:
    """A repr in a log holds no image."""
    assert "data" not in repr(ImageSource.from_bytes(PNG))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.none()
    | st.integers()
    | st.floats()
    | st.tuples()
    | st.lists(st.binary())
    | st.binary()
    | st.text()
    | st.dictionaries(st.text(), st.binary())
    | st.builds(io.BytesIO, st.binary())
)
def test_whatever_is_no_image_is_refused_by_type(value: Any) -> None:
    """Nothing that is passed for an image raises anything else."""
    with pytest.raises(InvalidImageError):
        anyio.run(ImageSource.of, value)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes have no names there")
def test_a_pipe_put_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    """Between looking at a file and opening it, it may be replaced."""
    os.mkfifo(tmp_path / "pipe")
    os.close(open_regular(str(tmp_path / "pipe"), os.O_RDONLY))
