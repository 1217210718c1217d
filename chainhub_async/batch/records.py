"""Errors, responses and times ↔ what the ledger's columns hold. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from chainhub_async import errors
from chainhub_async.errors import Billed, ChainHubError
from chainhub_async.transport.messages import Response

# What is told of an error besides its class and message; its attempts have a table of their own.
_FACTS = ("status", "code", "request_id", "retry_after", "bytes_sent")


def now() -> str:
    """Returns the time as the ledger has it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def text_of_path(path: str | bytes | os.PathLike[Any]) -> str:
    """Returns a path as text that can be stored: bytes that are no UTF-8 are escaped."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # no path at all, and refused as such later
        return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()


def error_to_json(error: ChainHubError) -> str:
    """Returns an error as the ledger has it."""
    facts = {name: getattr(error, name) for name in _FACTS if getattr(error, name)}
    kind = type(error).__name__
    return json.dumps(
        {"type": kind, "message": error.message, "billed": error.billed.value} | facts
    )


def error_of_json(text: str | None) -> ChainHubError | None:
    """Returns the error of an earlier run; its class is kept if this version has it."""
    if text is None:
        return None
    told: Any = json.loads(text)
    if not isinstance(told, Mapping):
        return ChainHubError(text)
    kind: Any = getattr(errors, str(told.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, ChainHubError)):
        kind = ChainHubError
    error: ChainHubError = kind(str(told.get("message")))
    error.billed = Billed(told.get("billed", "no"))
    for name in _FACTS:
        if name in told:
            setattr(error, name, told[name])
    return error


def reply_to_row(reply: Response) -> tuple[int, str, str | bytes, str]:
    """Returns status, headers, body and time of a response, as the ledger has them."""
    body: str | bytes = reply.body
    try:
        text = reply.body.decode()
        # SQLite's shell, and others, read text only up to a null.
        body = reply.body if "\0" in text else text
    except UnicodeDecodeError:
        pass
    headers = json.dumps(reply.headers)
    return reply.status, headers, body, reply.received_at.isoformat(timespec="milliseconds")


def reply_of_row(status: int, headers: str, body: str | bytes | None, received: str) -> Response:
    """Returns the response of an earlier run."""
    return Response(
        status=status,
        headers=tuple((name, value) for name, value in json.loads(headers)),
        body=body.encode() if isinstance(body, str) else body or b"",
        received_at=datetime.fromisoformat(received),
    )
