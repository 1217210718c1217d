"""Whole images told from cut ones, by structure alone."""

from __future__ import annotations

import io
import time

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
    # An image ends by 12 bytes at least, so a few are never a whole one, wherever they start.
    assert not judged or len(content) - start > 12
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
