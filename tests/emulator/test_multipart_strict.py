"""The multipart parser: what it takes, what it refuses, and that garbage is only ever refused."""

from __future__ import annotations

from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async.testing.multipart_strict import MultipartError, Part, boundary_of, parse

from .wire import BOUNDARY, PNG, form, image_part, part

EDGE = BOUNDARY.encode()
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1).filter(
    lambda name: '"' not in name and "\\" not in name
)


def test_reads_what_a_careful_client_writes() -> None:
    """Names, filenames, types and contents come out as they went in, in order."""
    parts = parse(form(image_part(), part("prompt", "wörld")), EDGE)
    assert parts == (
        Part(name="image", filename="image.png", content_type="image/png", content=PNG),
        Part(name="prompt", content="wörld".encode()),
    )


def test_header_names_are_read_in_any_case() -> None:
    """RFC 9110 field names know no case, nor does the disposition's type."""
    body = form(b'CONTENT-disposition:Form-Data;NAME=seed;filename="a\\"b"\r\n\r\n1')
    assert parse(body, EDGE) == (Part(name="seed", filename='a"b', content=b"1"),)


def test_the_last_line_break_may_be_missing() -> None:
    """RFC 2046 ends the body with two hyphens; the line break after them is optional."""
    assert len(parse(form(part("seed", "1"))[:-2], EDGE)) == 1


@given(st.lists(st.tuples(NAMES, st.binary()), min_size=1, max_size=8))
def test_round_trip(fields: list[tuple[str, bytes]]) -> None:
    """Whatever is framed rightly is read back byte for byte."""
    boundary = "b" * 30  # not in what is generated, but for a miracle
    body = form(*starmap(part, fields), boundary=boundary)
    read = parse(body, boundary.encode())
    assert [(each.name, each.content) for each in read] == fields


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_read(garbage: bytes) -> None:
    """No bytes make the parser raise anything but its own error."""
    for body in (garbage, b"--b\r\n" + garbage + b"\r\n--b--\r\n"):
        try:
            parts = parse(body, b"b")
        except MultipartError:
            continue
        assert all(each.name for each in parts)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_damage_is_refused_or_read(position: int, bytes_put: bytes) -> None:
    """A good body with bytes overwritten is never more than refused."""
    whole = form(image_part(), part("prompt", "a"), part("seed", "1"))
    position %= len(whole)
    body = whole[:position] + bytes_put + whole[position + len(bytes_put) :]
    try:
        parts = parse(body, EDGE)
    except MultipartError:
        return
    assert 1 <= len(parts) <= 3


GOOD = part("seed", "1")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "does not begin"),
        (b"junk\r\n" + form(GOOD), "does not begin"),
        (b"\r\n" + form(GOOD), "does not begin"),
        (b"--" + EDGE + b"--\r\n", "no parts"),
        (form(GOOD) + b"junk", "follow the closing"),
        (form(GOOD)[:-4] + b"  \r\n", "neither CRLF nor"),
        (form(GOOD)[:-8], "closing boundary is missing"),
        (form(GOOD).replace(b"\r\n", b"\n"), "neither CRLF nor"),
        (form(b"\r\nno header"), "does not end"),
        (form(b"no header at all"), "does not end"),
        (form(b"X" * 5000 + b": 1\r\n\r\n"), "too long"),
        (form(b"Content-Type: text/plain\r\n\r\n1"), "no Content-Disposition"),
        (form(b"Content-Disposition: form-data\r\n\r\n1"), "no name"),
        (form(b'Content-Disposition: form-data; name=""\r\n\r\n1'), "no name"),
        (form(b'Content-Disposition: attachment; name="a"\r\n\r\n1'), "not form-data"),
        (form(b'Content-Disposition: form-data; name="a"; name="b"\r\n\r\n1'), "twice"),
        (form(b"Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''b\r\n\r\n1"), "also"),
        (form(b'Content-Disposition: form-data; name="a\r\n\r\n1'), "cannot be read"),
        (form(b"Content-Disposition: \r\n\r\n1"), "cannot be read"),
        (form(b'Content-Disposition: form-data; name="\xff"\r\n\r\n1'), "not UTF-8"),
        (form(b"Content-Type: oops()\r\n" + GOOD), "cannot be read"),
        (form(b"Content-Length: 1\r\n" + GOOD), "cannot have the header"),
        (form(b"Content-Type: a/b\r\nContent-Type: a/b\r\n" + GOOD), "two content-type"),
        (form(b"Content Type: a/b\r\n" + GOOD), "no header"),
        (form(b"Content-Type: a/b\x00\r\n" + GOOD), "no header"),
        (form(b" folded\r\n" + GOOD), "no header"),
        (form(*[GOOD] * 101), "more than 100"),
    ],
)
def test_refuses(body: bytes, says: str) -> None:
    """Each departure from the RFCs is named."""
    with pytest.raises(MultipartError, match=says):
        parse(body, EDGE)


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;Boundary="a b:c"', b"a b:c"),
    ],
)
def test_boundary_is_read(value: str, boundary: bytes) -> None:
    """Bare or quoted, the names in any case."""
    assert boundary_of(value) == boundary


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("application/json", "must be multipart/form-data"),
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=", "cannot be read"),
        ('multipart/form-data; boundary=""', "is no boundary"),
        ('multipart/form-data; boundary="a "', "is no boundary"),
        ("multipart/form-data; boundary=" + "a" * 71, "is no boundary"),
        ("multipart/form-data; boundary=a; charset=utf-8", "besides boundary"),
        ("multipart/form-data; boundary=a; boundary=b", "twice"),
        ("multipart/form-data boundary=a", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_boundary_is_refused(value: str, says: str) -> None:
    """A Content-Type that RFC 2046 would not have is refused."""
    with pytest.raises(MultipartError, match=says):
        boundary_of(value)
