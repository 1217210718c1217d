"""`hub.request`: any gateway call that has no method of its own."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Mapping
from typing import Any

from chainhub_async.config import Timeout
from chainhub_async.errors import InvalidOptionError, printable
from chainhub_async.resources import fields
from chainhub_async.transport.messages import Request

# RFC 9110 §9.2.1: these change nothing, so that repeating them costs nothing.
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# This package sets what describes the body and the connection; the client sets the key.
_OWN_HEADERS = {
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# RFC 9110 §5.6.2.
_TOKEN = re.compile("[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def raw_request(
    method: str,
    path: str,
    *,
    json: Any = None,
    form: Mapping[str, Any] | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    images: int = 0,
    timeout: Timeout,
) -> Request:
    """Checks the arguments of `hub.request` and returns the request.

    Raises:
        InvalidOptionError: one of them is invalid; the message says which.
    """
    verb = method.upper() if isinstance(method, str) else ""
    if not verb.isascii() or not verb.isalpha() or verb == "CONNECT":
        raise InvalidOptionError(
            f"method is {printable(repr(method), 60)}; an HTTP method other than CONNECT is "
            "expected."
        )
    safe = verb in _SAFE_METHODS
    bodies = (json is not None) + (form is not None)
    if bodies > (0 if safe else 1):
        raise InvalidOptionError(
            "Pass json= or form=, not both; GET, HEAD and OPTIONS take neither."
        )
    if isinstance(images, bool) or not isinstance(images, int) or images < 0:
        raise InvalidOptionError(f"images is {images!r}; a whole number from 0 is allowed.")
    parts = tuple(fields.further("form", form, frozenset()))
    return Request(
        method=verb,
        path=_checked_path(path),
        parts=parts,
        content=None if parts else _json_body(json, needed=not safe),
        content_type="application/json" if json is not None else None,
        params=_checked_params(params),
        headers=_checked_headers(headers),
        images=images,
        safe=safe,
        timeout=timeout,
    )


def _checked_path(path: str) -> str:
    if not isinstance(path, str) or not path.startswith("/") or not path.isprintable():
        raise InvalidOptionError(
            f"path is {printable(repr(path), 200)}; it must begin with / and is appended to the "
            "base URL."
        )
    return path


def _json_body(value: Any, *, needed: bool) -> bytes | None:
    if value is None:
        # Without one, aiohttp would send some methods again by itself.
        return b"" if needed else None
    try:
        return jsonlib.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidOptionError(f"json cannot be serialized: {problem}.") from None


def _checked_params(params: Any) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in _pairs("params", params).items():
        shown = f"params contains {printable(repr(name), 60)}: {printable(repr(value), 60)}"
        if isinstance(value, int) and not isinstance(value, bool):
            value = int.__repr__(value)  # noqa: PLW2901 - as text from here on
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidOptionError(f"{shown}; names are text, values text or whole numbers.")
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            raise InvalidOptionError(f"{shown}; a lone surrogate cannot be sent.") from None
        checked[str.__str__(name)] = str.__str__(value)
    return checked


def _checked_headers(headers: Any) -> dict[str, str]:
    for name, value in _pairs("headers", headers).items():
        shown = printable(repr(name), 60)
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise InvalidOptionError(f"headers contains {shown}, which is not a valid header name.")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            raise InvalidOptionError(
                f"The value of the header {shown} is not printable ASCII text."
            )
        if name.lower() in _OWN_HEADERS:
            raise InvalidOptionError(f"The header {shown} is set by the client; leave it out.")
    return dict(headers or {})


def _pairs(option: str, value: Any) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidOptionError(f"{option} is a {type(value).__name__}; a dict is expected.")
    return value
