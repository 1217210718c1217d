"""What the emulator records of each request, for tests to inspect."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from chainhub_async.testing.multipart_strict import Part

__all__ = ["PartRecord", "RequestRecord", "record_part"]


@attrs.frozen(kw_only=True)
class PartRecord:
    """One part of a form that was sent.

    Attributes:
        name: The form field.
        filename: As sent, or None.
        content_type: As sent, or None.
        size: The content's length in bytes.
        sha256: The content's SHA-256, in hex.
        text: The content of a part without filename; None for a file part.
    """

    name: str
    filename: str | None
    content_type: str | None
    size: int
    sha256: str
    text: str | None


@attrs.define(kw_only=True)
class RequestRecord:
    """One request, recorded when its headers have arrived and updated as it continues.

    Attributes:
        method: The method.
        path: The path, without query.
        headers: Names and values exactly as sent, in order; not in `repr` because of the key.
        request_id: The response's `X-Oneapi-Request-Id`.
        body_bytes: How many bytes of the body arrived.
        parts: The form's parts, once the whole body arrived and could be parsed.
        billed: How many images were billed for it.
        status: The response's status; None until then, and forever if the client disconnected
            before its body was complete.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)
    request_id: str
    body_bytes: int = 0
    parts: tuple[PartRecord, ...] = ()
    billed: int = 0
    status: int | None = None

    def count_body(self, size: int) -> None:
        """Record that `size` more bytes of the body arrived."""
        self.body_bytes += size

    def values(self, name: str) -> list[str]:
        """Every value of a header, its name in any case."""
        wanted = name.lower().encode("ascii")
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def texts(self, name: str) -> list[str]:
        """Every value of a text field."""
        return [part.text for part in self.parts if part.name == name and part.text is not None]

    @property
    def image_sha256(self) -> str | None:
        """SHA-256 of the photograph sent, in hex; None if there is none."""
        return next((part.sha256 for part in self.parts if part.name == "image"), None)


def record_part(part: Part) -> PartRecord:
    """Reduce a part to what is recorded: never a file's bytes."""
    is_text = part.filename is None
    return PartRecord(
        name=part.name,
        filename=part.filename,
        content_type=part.content_type,
        size=len(part.content),
        sha256=hashlib.sha256(part.content).hexdigest(),
        text=part.content.decode("utf-8", "replace") if is_text else None,
    )
