"""Any parts make a body that is read back as those parts."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainhub_async import ImageSource
from chainhub_async.config import Timeout
from chainhub_async.transport.messages import Part, Request
from chainhub_async.transport.multipart import Body, multipart

from .capture import png
from .parsers import PARSERS, Seen, alike, strict

NAMES = st.from_regex(r"[A-Za-z0-9_.\[\]-]{1,20}", fullmatch=True)
# What forms are split at, so that it occurs often.
MARKS = st.sampled_from([b"\r\n", b"--", b"\r\n--", b"\n", b"\r", b"\0", b"boundary", b"\xff\xd9"])
BYTES = st.lists(MARKS | st.binary(max_size=20), max_size=12).map(b"".join)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.lists(
    st.sampled_from(["\r\n", "--", "\r\n--X\r\n", '"', "\\", "\0", "é", "🌲", " ", "%", "="])
).map("".join)


@st.composite
def forms(draw: st.DrawFn) -> tuple[Part, ...]:
    """Parts of all kinds."""
    makers = st.one_of(
        st.builds(Part.text, NAMES, TEXT),
        st.builds(Part.json, NAMES, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.builds(Part.image, NAMES, BYTES.map(png).map(ImageSource.from_bytes)),
    )
    return tuple(draw(st.lists(makers, min_size=1, max_size=8)))


def _expected(parts: tuple[Part, ...]) -> list[Seen]:
    return [
        Seen(part.name, part.content, None, part.content_type)
        if isinstance(part.content, bytes)
        else Seen(part.name, part.content.data or b"", "image.png", "image/png")
        for part in parts
    ]


def _body(parts: tuple[Part, ...], boundary: str) -> bytes:
    segments = multipart(parts, boundary)
    return b"".join(each if isinstance(each, bytes) else each.data or b"" for each in segments)


@pytest.mark.parametrize("parser", sorted(PARSERS))
@settings(max_examples=60, deadline=None)
@given(parts=forms())
def test_any_parts_are_read_back(parser: str, parts: tuple[Part, ...]) -> None:
    """Names, bytes, file names and types come back from every parser as they were given."""
    boundary = hashlib.sha256(repr(parts).encode()).hexdigest()[:48]
    found = PARSERS[parser](boundary, _body(parts, boundary))
    whole = parser in {"strict", "email", "python-multipart"}
    assert alike(found, whole=whole) == alike(_expected(parts), whole=whole)


@settings(max_examples=200, deadline=None)
@given(prompt=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_prompt_is_read_back_by_all(prompt: str) -> None:
    """Any text of real characters is the same bytes for every parser."""
    parts = (Part.text("prompt", prompt), Part.image("image", ImageSource.from_bytes(png())))
    body = _body(parts, "0" * 48)
    for name, parser in PARSERS.items():
        found = [part.content for part in parser("0" * 48, body) if part.name == "prompt"]
        assert found == [prompt.encode()], name


@given(parts=forms())
def test_the_length_is_exact_before_anything_is_written(parts: tuple[Part, ...]) -> None:
    """What a body says it is long is what its segments are together, boundary included."""
    request = Request(method="POST", path="/", parts=parts, timeout=Timeout())
    body = Body.of(request, lambda _: None)
    assert body is not None
    boundary = body.content_type.removeprefix("multipart/form-data; boundary=")
    assert body.size == len(_body(parts, boundary))
    assert (body.handed, body.complete) == (0, False)


def test_a_body_is_not_shown_as_text() -> None:
    """An aiohttp session may ask any payload for its text; this one has none in memory to show."""
    request = Request(method="POST", path="/", content=b"{}", timeout=Timeout())
    body = Body.of(request, lambda _: None)
    assert body is not None
    with pytest.raises(TypeError, match="streamed"):
        body.decode()


def test_a_strict_reading_is_strict() -> None:
    """The parser that the others are compared with refuses what is not by the letter."""
    good = _body((Part.text("a", "b"),), "X")
    assert strict("X", good) == [Seen("a", b"b")]
    for bad in (
        good + b"\r\n",
        b"\r\n" + good,
        good.replace(b"form-data", b"attachment"),
        good[:-1],
    ):
        with pytest.raises(ValueError, match="by the letter"):
            strict("X", bad)
