"""`hub.request`: any call of the gateway that has no method of its own."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from typing import Any

from chainhub_async.config import Timeout
from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.resources import fields
from chainhub_async.transport.messages import Request

# RFC 9110 §9.2.1: these change nothing, so that repeating them costs nothing.
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# What describes the body or the connection is this package's to say; the key is the client's.
_OWN_HEADERS = {
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def raw_request(
    method: str,
    path: str,
    *,
    json: Any,
    form: Mapping[str, Any] | None,
    params: Mapping[str, str] | None,
    headers: Mapping[str, str] | None,
    images: int,
    timeout: Timeout,
) -> Request:
    """Checks what a caller wants sent and returns the request for it.

    Raises:
        InvalidOptionError: something in it cannot be sent; the sentence says what.
    """
    verb = method.upper() if isinstance(method, str) else ""
    if not verb.isascii() or not verb.isalpha():
        raise InvalidOptionError(f"method is {method!r}; an HTTP method is expected.")
    safe = verb in _SAFE_METHODS
    if (json is not None or form is not None) and (safe or None not in (json, form)):
        raise InvalidOptionError("A body is either json= or form=, and only where one belongs.")
    if isinstance(images, bool) or not isinstance(images, int) or images < 0:
        raise InvalidOptionError(f"images is {images!r}; a whole number from 0 is allowed.")
    return Request(
        method=verb,
        path=_checked_path(path),
        parts=tuple(fields.further(form, frozenset())),
        content=None if form else _json_body(json, needed=not safe),
        content_type="application/json" if json is not None else None,
        params=dict(params or {}),
        headers=_checked_headers(headers or {}),
        images=images,
        safe=safe,
        timeout=timeout,
    )


def _checked_path(path: str) -> str:
    if not isinstance(path, str) or not path.startswith("/") or not path.isprintable():
        raise InvalidOptionError(
            f"path is {printable(repr(path), 200)}; it begins with / and follows the base URL."
        )
    return path


def _json_body(value: Any, *, needed: bool) -> bytes | None:
    if value is None:
        return b"" if needed else None
    try:
        return jsonlib.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidOptionError(f"json cannot be sent as JSON: {problem}.") from None


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str) or not value.isprintable():
            raise InvalidOptionError(f"The header {name!r} is not printable text.")
        if name.lower() in _OWN_HEADERS:
            raise InvalidOptionError(f"The header {name!r} is set by the client itself.")
    return dict(headers)
