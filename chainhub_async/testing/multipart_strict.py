"""A strict parser of multipart/form-data (RFC 7578, RFC 2046): anything doubtful is refused."""

from __future__ import annotations

import re

import attrs

__all__ = ["MultipartError", "Part", "boundary_of", "parse"]

# Bounds on what one request may make the parser do; a real request has a dozen short parts.
MAX_PARTS = 100
MAX_PART_HEADER_BYTES = 4096

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"(?:[^"\\\r\n]|\\[^\r\n])*"'
_PARAMETER = re.compile(rf"\s*;\s*({_WORD})=({_WORD}|{_QUOTED})")
_BARE_WORD = re.compile(_WORD)
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}")
# RFC 2046 §5.1.1: 1 to 70 characters of this set, not ending in a space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# RFC 7578 §4.8: other header fields MUST NOT be included.
_PART_HEADERS = frozenset({"content-disposition", "content-type"})


class MultipartError(ValueError):
    """The body, or the header that announces it, is not well-formed multipart/form-data."""


@attrs.frozen(kw_only=True)
class Part:
    """One part of a form.

    Attributes:
        name: The form field's name.
        filename: As sent, or None for a part without one.
        content_type: The part's own `Content-Type`, or None for a part without one.
        content: The part's bytes.
    """

    name: str
    filename: str | None = None
    content_type: str | None = None
    content: bytes = attrs.field(repr=False)


def boundary_of(content_type: str) -> bytes:
    """Read the boundary out of a request's `Content-Type`.

    Args:
        content_type: The header's value.

    Returns:
        The boundary, without its leading hyphens.

    Raises:
        MultipartError: The type is another one, or its only parameter is not a valid boundary.
    """
    media_type, parameters = _split_parameters(content_type)
    if media_type.lower() != "multipart/form-data":
        raise MultipartError(f"Content-Type must be multipart/form-data, not {media_type!r}")
    boundary = parameters.pop("boundary", None)
    if boundary is None:
        raise MultipartError("Content-Type names no boundary")
    if parameters:
        raise MultipartError(f"Content-Type has parameters besides boundary: {sorted(parameters)}")
    if not _BOUNDARY.fullmatch(boundary):
        raise MultipartError(f"{boundary!r} is no boundary by RFC 2046")
    return boundary.encode("ascii")


def parse(body: bytes, boundary: bytes) -> tuple[Part, ...]:
    """Split a whole body into its parts.

    Args:
        body: The body, from the first boundary to the closing one, and nothing around them.
        boundary: As `boundary_of` returned it.

    Returns:
        The parts, in the order sent; at least one.

    Raises:
        MultipartError: The framing or a part's header is not exactly as the RFCs have it.
    """
    dash_boundary = b"--" + boundary
    if not body.startswith(dash_boundary):
        raise MultipartError("the body does not begin with its boundary")
    parts: list[Part] = []
    position = len(dash_boundary)
    while not _is_closing(body, position):
        position += 2  # the CRLF that `_is_closing` has seen
        end = body.find(b"\r\n" + dash_boundary, position)
        if end < 0:
            raise MultipartError("the closing boundary is missing")
        if len(parts) == MAX_PARTS:
            raise MultipartError(f"the body has more than {MAX_PARTS} parts")
        parts.append(_part(body, position, end))
        position = end + 2 + len(dash_boundary)
    if not parts:
        raise MultipartError("the body has no parts")
    return tuple(parts)


def _is_closing(body: bytes, position: int) -> bool:
    """Whether the boundary that ends at `position` is the last one."""
    after = body[position : position + 2]
    if after == b"\r\n":
        return False
    if after != b"--":
        raise MultipartError("a boundary is followed by neither CRLF nor two hyphens")
    if body[position + 2 : position + 5] not in {b"", b"\r\n"}:
        raise MultipartError("bytes follow the closing boundary")
    return True


def _part(body: bytes, start: int, end: int) -> Part:
    header_end = body.find(b"\r\n\r\n", start, min(end, start + MAX_PART_HEADER_BYTES))
    if header_end < 0:
        raise MultipartError("a part's header does not end, or is too long")
    headers = _part_headers(body[start:header_end])
    content_type = headers.get("content-type")
    if content_type is not None:
        _split_parameters(content_type)
    name, filename = _disposition(headers)
    return Part(
        name=name,
        filename=filename,
        content_type=content_type,
        content=body[header_end + 4 : end],
    )


def _part_headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in _text(block).split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or not _BARE_WORD.fullmatch(name) or _has_control(value):
            raise MultipartError(f"{line!r} is no header of a part")
        name = name.lower()
        if name in headers:
            raise MultipartError(f"a part has two {name} headers")
        if name not in _PART_HEADERS:
            raise MultipartError(f"a form's part cannot have the header {name!r} (RFC 7578 §4.8)")
        headers[name] = value.strip(" \t")
    return headers


def _text(block: bytes) -> str:
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        raise MultipartError("a part's header is not UTF-8") from None


def _has_control(value: str) -> bool:
    return any(character < " " and character != "\t" for character in value) or "\x7f" in value


def _disposition(headers: dict[str, str]) -> tuple[str, str | None]:
    value = headers.get("content-disposition")
    if value is None:
        raise MultipartError("a part has no Content-Disposition")
    kind, parameters = _split_parameters(value)
    if kind.lower() != "form-data":
        raise MultipartError(f"a part's Content-Disposition is {kind!r}, not form-data")
    name = parameters.pop("name", None)
    filename = parameters.pop("filename", None)
    if not name:
        raise MultipartError("a part has no name")
    if parameters:  # among them filename*, which RFC 7578 §4.2 forbids
        raise MultipartError(f"Content-Disposition of {name!r} also has {sorted(parameters)}")
    return name, filename


def _split_parameters(value: str) -> tuple[str, dict[str, str]]:
    """`form-data; name="a"` → (`form-data`, {`name`: `a`}); keys in lower case, each once."""
    head = value.split(";", 1)[0].rstrip(" \t")
    if not (_BARE_WORD.fullmatch(head) or _MEDIA_TYPE.fullmatch(head)):
        raise MultipartError(f"{value!r} cannot be read")
    parameters: dict[str, str] = {}
    position = len(head)
    while value[position:].strip(" \t"):
        match = _PARAMETER.match(value, position)
        if match is None:
            raise MultipartError(f"the parameters of {value!r} cannot be read")
        key = match[1].lower()
        if key in parameters:
            raise MultipartError(f"{value!r} has {key!r} twice")
        parameters[key] = _unquote(match[2])
        position = match.end()
    return head, parameters


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
