"""Every form an image may have is sent byte for byte, and the caller's file is left as it was."""

from __future__ import annotations

import gzip
import hashlib
import io
import mmap
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiofiles
import anyio
import anyio.lowlevel
import pytest

from chainhub_async import AsyncChainHub, ImageSource, InvalidImageError
from chainhub_async.testing import Emulator

from .pictures import png_of, samples

DATA = samples()["jpeg"]
JUNK = b"what precedes the image"


class _Located:
    """Neither `str` nor `Path`, but a path all the same."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path

    def __fspath__(self) -> Any:
        return self._path


class _Bytes(bytes):
    pass


class _OnlyReads:
    """The least a file object can be, and slow: a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> Any:
        return self._file.read(min(size, 99) if size >= 0 else size)


class _MemoryviewReader(_OnlyReads):
    def read(self, size: int = -1) -> Any:
        return memoryview(super().read(size))


class _TellsOnly(io.RawIOBase):
    """Like the raw reply of urllib3: it knows its position and cannot go back."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)


class _Upload:
    """Like Starlette's UploadFile: asynchronous, without `tell`."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    async def read(self, size: int = -1) -> bytes:
        await anyio.lowlevel.checkpoint()
        return self.file.read(size)

    async def seek(self, offset: int) -> None:
        self.file.seek(offset)


class _Unmasking(io.BufferedReader):
    """A file that holds something else than it gives."""

    def read(self, size: int | None = -1, /) -> bytes:
        return bytes(byte ^ 0xFF for byte in super().read(size))


def _file(path: Path, data: bytes = DATA) -> Path:
    path.write_bytes(data)
    return path


def _entry(path: Path, opened: ExitStack) -> os.DirEntry[str]:
    _file(path)
    return next(iter(opened.enter_context(os.scandir(path.parent))))


def _linked(path: Path, _: ExitStack) -> Path:
    link = path.with_name("link")
    link.symlink_to(_file(path))
    return link


def _strided() -> memoryview:
    view = memoryview(bytes(byte for pair in zip(DATA, DATA, strict=True) for byte in pair))[::2]
    assert not view.contiguous
    return view


def _words() -> memoryview:
    return memoryview(DATA + bytes(len(DATA) % 2)).cast("H")


def _mapped(path: Path, opened: ExitStack) -> mmap.mmap:
    file = opened.enter_context(_file(path).open("rb"))
    return opened.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _zipped(path: Path, opened: ExitStack) -> Any:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat", DATA)
    archive = opened.enter_context(zipfile.ZipFile(path))
    return opened.enter_context(archive.open("cat"))


def _piped(path: Path, opened: ExitStack) -> Any:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as writer:
        writer.write(DATA)
    return opened.enter_context(os.fdopen(reading, "rb"))


def _received(path: Path, opened: ExitStack) -> Any:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(DATA)
    opened.callback(ours.close)
    return opened.enter_context(ours.makefile("rb"))


def _unmasking(path: Path, opened: ExitStack) -> Any:
    _file(path, bytes(byte ^ 0xFF for byte in DATA))
    return opened.enter_context(_Unmasking(io.FileIO(path)))


VALUES: dict[str, Callable[[Path, ExitStack], Any]] = {
    "str": lambda path, _: str(_file(path)),
    "Path": lambda path, _: _file(path),
    "PathLike": lambda path, _: _Located(str(_file(path))),
    "PathLike of bytes": lambda path, _: _Located(os.fsencode(_file(path))),
    "DirEntry": _entry,
    "link": _linked,
    "wrong suffix": lambda path, _: _file(path.with_suffix(".txt")),
    "bytes": lambda _, __: DATA,
    "subclass of bytes": lambda _, __: _Bytes(DATA),
    "bytearray": lambda _, __: bytearray(DATA),
    "memoryview": lambda _, __: memoryview(DATA),
    "memoryview with gaps": lambda _, __: _strided(),
    "mmap": _mapped,
    "pipe": _piped,
    "socket": _received,
    "object that only reads": lambda _, __: _OnlyReads(DATA),
    "object that gives views": lambda _, __: _MemoryviewReader(DATA),
    "object that cannot go back": lambda _, __: _TellsOnly(DATA),
    "upload": lambda _, __: _Upload(DATA),
    "unmasking file": _unmasking,
    "file in an archive": _zipped,
}


@pytest.mark.anyio
@pytest.mark.parametrize("form", sorted(VALUES))
async def test_every_form_arrives_byte_for_byte(
    form: str, tmp_path: Path, opened: ExitStack, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Whatever form an image has, its bytes and its true type are what the gateway gets."""
    await hub.ideogram.replace_background(VALUES[form](tmp_path / "cat.png", opened), prompt="x")
    (sent,) = (part for part in emulator.requests[0].parts if part.name == "image")
    assert sent.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (sent.filename, sent.content_type) == ("image.jpg", "image/jpeg")


@pytest.mark.anyio
async def test_a_view_of_wider_items_is_sent_in_bytes(hub: AsyncChainHub) -> None:
    """A memoryview's size counts bytes, not items."""
    view = _words()
    assert (await ImageSource.of(view)).size == view.nbytes > len(view)


def _spooled(opened: ExitStack, limit: int) -> Any:
    spooled = tempfile.SpooledTemporaryFile(max_size=limit)  # noqa: SIM115 - `opened` closes it
    opened.enter_context(spooled)
    spooled.write(JUNK + DATA)
    return spooled


def _gone(path: Path, opened: ExitStack) -> Any:
    file = opened.enter_context(_file(path, JUNK + DATA).open("rb"))
    path.unlink()
    return file


def _replaced(path: Path, opened: ExitStack) -> Any:
    file = opened.enter_context(_file(path, JUNK + DATA).open("rb"))
    path.unlink()
    path.write_bytes(b"another file of that name")
    return file


def _numbered(path: Path, opened: ExitStack) -> Any:
    number = os.open(_file(path, JUNK + DATA), os.O_RDONLY)
    return opened.enter_context(os.fdopen(number, "rb"))


def _named(path: Path, opened: ExitStack) -> Any:
    named = tempfile.NamedTemporaryFile(dir=path.parent)  # noqa: SIM115 - `opened` closes it
    opened.enter_context(named)
    named.write(JUNK + DATA)
    return named


def _gzipped(path: Path, opened: ExitStack) -> Any:
    with gzip.open(path, "wb") as target:
        target.write(JUNK + DATA)
    return opened.enter_context(gzip.open(path, "rb"))


FILES: dict[str, Callable[[Path, ExitStack], Any]] = {
    "open": lambda path, opened: opened.enter_context(_file(path, JUNK + DATA).open("rb")),
    "unbuffered": lambda path, opened: opened.enter_context(
        _file(path, JUNK + DATA).open("rb", buffering=0)
    ),
    "for update": lambda path, opened: opened.enter_context(_file(path, JUNK + DATA).open("r+b")),
    "deleted": _gone,
    "replaced": _replaced,
    "by number": _numbered,
    "named temporary": _named,
    "spooled in memory": lambda _, opened: _spooled(opened, 1_000_000),
    "spooled to disk": lambda _, opened: _spooled(opened, 10),
    "BytesIO": lambda _, __: io.BytesIO(JUNK + DATA),
    "buffered memory": lambda _, __: io.BufferedReader(io.BytesIO(JUNK + DATA)),
    "gzip": _gzipped,
}


@pytest.mark.anyio
@pytest.mark.parametrize("form", sorted(FILES))
async def test_a_file_is_read_from_its_position_and_left_there(
    form: str, tmp_path: Path, opened: ExitStack, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """A caller's file is neither moved nor closed, so that it serves a second call as well."""
    file = FILES[form](tmp_path / "cat", opened)
    file.seek(len(JUNK))
    for _ in range(2):
        await hub.ideogram.replace_background(file, prompt="x")
        assert not file.closed
        assert file.tell() == len(JUNK)
    assert file.read() == DATA
    expected = hashlib.sha256(DATA).hexdigest()
    assert [request.image_sha256 for request in emulator.requests] == [expected] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("opening", [aiofiles.open, anyio.open_file], ids=["aiofiles", "anyio"])
async def test_an_asynchronous_file_too(
    opening: Callable[..., Any], tmp_path: Path, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """The files of aiofiles and anyio are awaited, and left as they were found."""
    file = await opening(_file(tmp_path / "cat", JUNK + DATA), "rb")
    try:
        await file.seek(len(JUNK))
        for _ in range(2):
            await hub.ideogram.replace_background(file, prompt="x")
            assert await file.tell() == len(JUNK)
        assert await file.read() == DATA
    finally:
        await (file.aclose() if hasattr(file, "aclose") else file.close())
    expected = hashlib.sha256(DATA).hexdigest()
    assert [request.image_sha256 for request in emulator.requests] == [expected] * 2


@pytest.mark.anyio
async def test_an_asynchronous_pipe_too(opened: ExitStack, hub: AsyncChainHub) -> None:
    """A pipe opened with aiofiles cannot tell where it is, and is read all the same."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as writer:
        writer.write(DATA)
    async with aiofiles.open(reading, "rb") as file:
        assert (await ImageSource.of(file)).data == DATA


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["BytesIO", "for update", "text", "text of any bytes", "open"])
async def test_a_refused_file_is_left_where_it_was(
    form: str, tmp_path: Path, opened: ExitStack
) -> None:
    """What is refused is not moved either: the caller may look at it."""
    path = _file(tmp_path / "x", JUNK + b"\xff" * 100)
    encoding = {"text": "utf-8", "text of any bytes": "latin-1"}.get(form)
    mode = "r" if encoding else "r+b" if form == "for update" else "rb"
    file: Any = path.open(mode, encoding=encoding)
    with file:
        if form == "BytesIO":
            file = opened.enter_context(io.BytesIO(JUNK))
        file.seek(3)
        with pytest.raises(InvalidImageError):
            await ImageSource.of(file)
        assert file.tell() == 3


@pytest.mark.anyio
async def test_one_file_object_may_be_shared(
    tmp_path: Path, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Calls at the same time that share a BytesIO or an open file each send the whole image."""
    data = png_of(400_000)
    path = _file(tmp_path / "cat", JUNK + data)
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        memory = io.BytesIO(JUNK + data)
        for shared in (file, raw, memory):
            shared.seek(len(JUNK))
        async with anyio.create_task_group() as group:
            for shared in (file, raw, memory) * 6:
                group.start_soon(hub.ideogram.replace_background, shared)
        assert [shared.tell() for shared in (file, raw, memory)] == [len(JUNK)] * 3
    assert emulator.billed_calls == {hashlib.sha256(data).hexdigest(): 18}


@pytest.mark.anyio
async def test_a_source_serves_many_calls(
    tmp_path: Path, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """An ImageSource is measured once and sent any number of times, at the same time as well."""
    sources = [
        await ImageSource.of(_file(tmp_path / "cat")),
        ImageSource.from_path(tmp_path / "cat"),
        ImageSource.from_bytes(DATA),
    ]
    async with anyio.create_task_group() as group:
        for source in sources * 3:
            assert await ImageSource.of(source) is source
            group.start_soon(hub.ideogram.replace_background, source)
    assert emulator.billed_calls == {hashlib.sha256(DATA).hexdigest(): 9}


@pytest.mark.anyio
async def test_memory_that_changes_later_is_not_sent(
    hub: AsyncChainHub, emulator: Emulator
) -> None:
    """What was measured is what is sent, though the caller goes on to use its buffer."""
    buffer = bytearray(DATA)
    source = await ImageSource.of(buffer)
    buffer[:] = bytes(len(DATA))
    buffer.clear()
    await hub.ideogram.replace_background(source, prompt="x")
    assert emulator.requests[0].image_sha256 == hashlib.sha256(DATA).hexdigest()


@pytest.mark.anyio
async def test_the_working_directory_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """A relative path means the file it meant when it was given."""
    _file(tmp_path / "cat.jpg")
    monkeypatch.chdir(tmp_path)
    source = await ImageSource.of("cat.jpg")
    monkeypatch.chdir("/")
    await hub.ideogram.replace_background(source, prompt="x")
    assert emulator.requests[0].image_sha256 == hashlib.sha256(DATA).hexdigest()


@pytest.mark.anyio
async def test_ten_mebibytes_are_allowed(
    tmp_path: Path, hub: AsyncChainHub, emulator: Emulator
) -> None:
    """The limit itself is not over the limit, on disk, in memory or in a file object."""
    data = png_of(10 * 1024 * 1024)
    path = _file(tmp_path / "cat", data)
    for image in (path, data, io.BytesIO(data), _Upload(data)):
        await hub.ideogram.replace_background(image, prompt="x")
    assert emulator.billed_calls == {hashlib.sha256(data).hexdigest(): 4}


@pytest.mark.anyio
async def test_a_pipe_that_says_nothing_can_be_cancelled(
    hub: AsyncChainHub, emulator: Emulator
) -> None:
    """Waiting for a pipe holds up neither the event loop nor a cancellation."""
    reading, writing = os.pipe()
    # The end of the pipe, which is closed first, lets the thread that still reads it go.
    with os.fdopen(reading, "rb") as silent, os.fdopen(writing, "wb"):
        with anyio.move_on_after(0.1) as scope:
            await hub.ideogram.replace_background(silent, prompt="x")
        assert scope.cancelled_caught
    assert emulator.connections == 0
