"""Checks of a request's headers, before its body is read."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from chainhub_async.testing.refusals import RefusalError, bad_request, too_large, unauthorized

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp import web

__all__ = ["check_authorization", "check_body_headers"]

# Accept values that let the reply be JSON.
_JSON_RANGES = frozenset({"application/json", "application/*", "*/*"})


def check_authorization(request: web.BaseRequest, api_keys: Collection[str]) -> None:
    """Refuse a request without exactly one `Authorization: Bearer KEY` of a known key.

    Raises:
        RefusalError: 401.
    """
    values = request.headers.getall("Authorization", [])
    scheme, _, key = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    # Every key is compared, each in constant time: habits worth keeping even here. Header bytes
    # that are not UTF-8 arrive as surrogates.
    sent = key.encode("utf-8", "surrogateescape")
    known = [hmac.compare_digest(sent, each.encode()) for each in api_keys]
    if scheme.lower() != "bearer" or not any(known):
        raise unauthorized()


def check_body_headers(request: web.BaseRequest, max_body: int) -> None:
    """Refuse a request whose headers show that its body cannot be valid.

    Raises:
        RefusalError: 400 for a missing Accept or an encoded body, 411 without Content-Length, 413
            for one over `max_body`.
    """
    accept = request.headers.get("Accept")
    if accept is None or not _JSON_RANGES & {
        part.split(";")[0].strip().lower() for part in accept.split(",")
    }:
        raise bad_request("Accept: application/json is required")
    if "Content-Encoding" in request.headers:
        raise bad_request("the body must not be encoded")
    if request.content_length is None:
        raise RefusalError(411, "Content-Length is required; chunked bodies are not taken")
    if request.content_length > max_body:
        raise too_large(f"the body is larger than {max_body} bytes")
