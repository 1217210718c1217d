"""Requests and responses, as frozen values. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import attrs

from chainhub_async.config import Timeout
from chainhub_async.errors import Attempt, Billed, printable
from chainhub_async.images import ImageSource


@attrs.frozen
class Part:
    """One part of a multipart body.

    Attributes:
        name: the field's name.
        content: the text's bytes, or an image.
        content_type: the part's own type; plain text fields have none.
    """

    name: str
    content: bytes | ImageSource = attrs.field(repr=False)
    content_type: str | None = None

    @classmethod
    def text(cls, name: str, value: str) -> Part:
        """Returns a plain text field."""
        return cls(name, value.encode())

    @classmethod
    def json(cls, name: str, value: Any) -> Part:
        """Returns a JSON field."""
        content = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return cls(name, content.encode("ascii"), "application/json")

    @classmethod
    def image(cls, name: str, image: ImageSource) -> Part:
        """Returns a file field with an image."""
        return cls(name, image, image.media_type)


@attrs.frozen(kw_only=True)
class Request:
    """One gateway call, ready to be sent any number of times.

    Attributes:
        method: the HTTP method.
        path: joined to the base URL.
        parts: the fields of a multipart body, in order.
        content: a body that is not multipart.
        content_type: the type of `content`.
        params: the query parameters.
        headers: additional headers.
        images: how many images the call makes: its weight in `Limits.in_flight`.
        safe: repeating it costs nothing (RFC 9110 §9.2.1), so any failure may be retried.
        timeout: timeouts for this call.
    """

    method: str
    path: str
    parts: tuple[Part, ...] = ()
    content: bytes | None = attrs.field(default=None, repr=False)
    content_type: str | None = None
    params: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    images: int = 1
    safe: bool = False
    timeout: Timeout


@attrs.frozen(kw_only=True)
class Response:
    """A final response, read completely.

    Attributes:
        status: the HTTP status.
        headers: names and values in the order received.
        body: the body, decompressed, at most 1 MiB.
        received_at: when it was read.
        bytes_sent: bytes of the request's body handed to the socket.
        upload_complete: whether the whole body was sent.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = attrs.field(default=b"", repr=False)
    received_at: datetime
    bytes_sent: int = 0
    upload_complete: bool = True

    def header(self, name: str) -> str | None:
        """Returns the first header with that name, ignoring case, or None."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None

    @property
    def request_id(self) -> str | None:
        """The gateway's ID for the call, from the headers, or None."""
        # Gateway family: X-Oneapi-Request-Id; everyone else: x-request-id.
        found = self.header("x-oneapi-request-id") or self.header("x-request-id")
        return printable(found, 200) if found else None

    def json(self) -> Any:
        """Parses the body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from None


class Journal(Protocol):
    """Told how a call proceeds: `begin`, `before_last`, `failed` for each attempt, or `cancelled`.

    What `begin` or `before_last` raises ends the attempt before it is complete.
    """

    async def begin(self) -> None:
        """An attempt is about to be made; nothing of it has been sent."""
        ...

    async def before_last(self) -> None:
        """The attempt's last bytes are about to be sent: from here on it may be executed."""
        ...

    async def failed(self, attempt: Attempt) -> None:
        """The attempt failed, and another may follow."""
        ...

    def cancelled(self, attempt: Attempt, billed: Billed) -> None:
        """The call was cancelled during this attempt; `billed` is the worst of all attempts."""
        ...
