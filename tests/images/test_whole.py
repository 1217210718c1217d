"""Whole images told from cut ones, by structure alone."""

from __future__ import annotations

import io
import time
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from chainhub_async import ImageSource, InvalidImageError, formats

from .pictures import foreign, media_type, samples

NAMES = sorted(samples())


def whole(data: bytes) -> bool:
    """Judges an image in memory."""
    return formats.is_whole(io.BytesIO(data), 0, len(data))


HEADS = [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xda\x00\x02", b"\x89PNG\r\n\x1a\n", b"RIFF"]


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_image_is_whole_and_of_its_type(name: str) -> None:
    """Every sample, which Pillow can decode, is recognised and taken as whole."""
    data = samples()[name]
    Image.open(io.BytesIO(data)).load()
    source = ImageSource.from_bytes(data)
    assert (source.media_type, source.size) == (media_type(name), len(data))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_cut_at_any_byte_is_refused(name: str) -> None:
    """No proper beginning of an image passes for an image."""
    data = samples()[name]
    passed: list[int] = []
    for end in range(len(data)):
        try:
            ImageSource.from_bytes(data[:end])
        except InvalidImageError:
            continue
        passed.append(end)
    assert passed == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trailer", [b"\0", b"\n", bytes(70_000), b"SEFT\xff\xd8\xff\xe0 more"])
def test_what_follows_an_image_is_accepted(name: str, trailer: bytes) -> None:
    """Phones append data of their own after the picture's end."""
    data = samples()[name] + trailer
    assert ImageSource.from_bytes(data).size == len(data)


def test_the_end_mark_of_a_thumbnail_is_not_the_end() -> None:
    """A JPEG that is cut within its thumbnail's segment, just after the thumbnail, is cut."""
    data = samples()["jpeg with a thumbnail"]
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(ExifTags.IFD.IFD1)[0x0103] == 6
    end = data.index(b"\xff\xd9") + 2
    assert data.count(b"\xff\xd9") == 2
    assert not whole(data[:end])
    assert not whole(data[:end] + data[end : end + 50])


def test_a_second_picture_behind_the_first_does_not_hide_a_cut() -> None:
    """A cut PNG or WebP is cut even when something whole was appended to it."""
    for name in ("png", "webp"):
        data = samples()[name]
        assert whole(data + data)
        assert not whole(data[: len(data) - 20])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_found_where_it_starts(name: str) -> None:
    """An image within a file is judged by its own bytes, not by those around it."""
    data = samples()[name]
    file = io.BytesIO(b"junk" + data + b"more")
    assert formats.is_whole(file, 4, len(data))
    assert not formats.is_whole(file, 4, len(data) - 1)
    assert not formats.is_whole(file, 5, len(data))


@pytest.mark.parametrize("name", sorted(foreign()))
def test_other_formats_have_no_media_type(name: str) -> None:
    """What is no JPEG, PNG or WebP is neither named nor whole."""
    data = foreign()[name]
    assert formats.media_type(data[: formats.HEAD_SIZE]) is None
    assert not whole(data)


@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=400), data=st.data())
@example(head=b"\xff\xd8\xff", tail=b"", data=None)
def test_no_bytes_make_the_check_fail(head: bytes, tail: bytes, data: st.DataObject | None) -> None:
    """Whatever the bytes, the start and the size (a file may shrink), there is an answer."""
    content = head + tail
    start, size = 0, len(content) + 100
    if data is not None:
        start = data.draw(st.integers(0, len(content) + 5))
        size = data.draw(st.integers(0, len(content) + 50))
    judged = formats.is_whole(io.BytesIO(content), start, size)
    # A few bytes are never a whole image, wherever they start.
    assert not judged or len(content) - start >= 20
    assert formats.media_type(content) in {None, *formats.SUFFIXES}


@settings(max_examples=200)
@given(st.sampled_from(NAMES), st.data())
def test_damage_never_makes_the_check_fail(name: str, data: st.DataObject) -> None:
    """Whatever byte was changed, what is whole without its last byte is whole with it."""
    changed = bytearray(samples()[name])
    at = data.draw(st.integers(12, len(changed) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    judged = whole(bytes(changed))
    assert judged or not whole(bytes(changed[:-1]))


@pytest.mark.parametrize(
    "filler",
    [b"\xff", b"\xff\xd0", b"\xff\xe0\x00\x02"],
    ids=["fill bytes", "marks", "empty segments"],
)
def test_a_jpeg_of_markers_alone_is_refused_quickly(filler: bytes) -> None:
    """10 MiB made to be walked step by step do not keep the processor for seconds."""
    data = (b"\xff\xd8\xff" + filler * (10 * 1024 * 1024 // len(filler)))[: 10 * 1024 * 1024]
    started = time.process_time()
    assert not whole(data)
    assert time.process_time() - started < 1


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


SIGNATURE = b"\x89PNG\r\n\x1a\n"
IHDR = chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0")
IDAT, IEND = chunk(b"IDAT", zlib.compress(b"\0\0")), chunk(b"IEND")


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"IHDR", b"\0\0\0\0"])
@pytest.mark.parametrize("start", [b"", IHDR, IHDR + IDAT], ids=["bare", "IHDR", "IDAT"])
def test_a_png_of_empty_chunks_is_refused_quickly(kind: bytes, start: bytes) -> None:
    """The largest download made to be walked chunk by chunk does not keep the processor either."""
    size = 64 * 1024 * 1024
    data = SIGNATURE + start + chunk(kind) * (size // 12 - 10)
    started = time.process_time()
    assert not whole(data + IEND)
    assert time.process_time() - started < 1


def test_a_png_of_many_chunks_is_whole() -> None:
    """What an encoder writes that cuts the picture into far smaller chunks than usual."""
    assert whole(SIGNATURE + IHDR + chunk(b"IDAT", bytes(2048)) * 32_768 + IEND)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (IHDR + IDAT + IEND, True),
        (IHDR + chunk(b"tEXt", b"a\0b") + IDAT + IDAT + IEND, True),
        (IHDR + chunk(b"IDAT") + IDAT + IEND, True),
        (IEND, False),
        (IHDR + IEND, False),
        (IHDR + IEND + IDAT, False),
        (IHDR + chunk(b"IDAT") + IEND, False),
        (IDAT + IEND, False),
        (IDAT + IHDR + IEND, False),
        (chunk(b"tEXt") + IHDR + IDAT + IEND, False),
        (chunk(b"IHDR") + IDAT + IEND, False),
        (chunk(b"IHDR", bytes(14)) + IDAT + IEND, False),
    ],
)
def test_what_a_png_needs(data: bytes, expected: bool) -> None:
    """A PNG without header, without picture or in another order is no image."""
    assert whole(SIGNATURE + data) is expected


def segment(mark: int, size: int = 11) -> bytes:
    """A segment of a JPEG, of `size` bytes after the mark."""
    return bytes([0xFF, mark]) + size.to_bytes(2, "big") + bytes(size - 2)


@pytest.mark.parametrize("mark", range(0xC0, 0xD0), ids=hex)
def test_what_a_jpeg_needs(mark: int) -> None:
    """One of the frame headers (SOFn), which the marks for tables in the same range are not."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"
    frame, tables = segment(mark, 11), segment(0xDB, 67)
    assert whole(b"\xff\xd8" + tables + frame + scan) is (mark not in {0xC4, 0xC8, 0xCC})
    assert not whole(b"\xff\xd8" + tables + scan + frame)
    assert not whole(b"\xff\xd8" + segment(mark, 10) + scan)
    assert not whole(b"\xff\xd8\xff\xda\x00\x02\xff\xd9")


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        ("PNG", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (9, 9), "red")] * 3}),
        ("PNG", "RGB", {"compress_level": 0, "optimize": True}),
        *(("JPEG", mode, {"progressive": p}) for mode in ("L", "RGB", "CMYK") for p in (0, 1)),
        ("MPO", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
    ],
)
def test_what_pillow_writes_is_whole(form: str, mode: str, options: dict[str, object]) -> None:
    """Every mode and variant of the formats, animations and stereo pictures included."""
    target = io.BytesIO()
    Image.new(mode, (9, 9)).save(target, form, **options)
    assert whole(target.getvalue())
