"""Recorded replies, and what each must become, from `tests/data/replies`."""

from __future__ import annotations

import json
import unicodedata
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from chainhub_async.transport.messages import Response

FOLDER = Path(__file__).parent.parent / "data" / "replies"
RECEIVED = datetime(2026, 1, 5, 2, 11, 30, tzinfo=timezone.utc)
_INDEX: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "index.json").read_text("utf-8"))
GOOD = [entry for entry in _INDEX["replies with status 200"] if "error" not in entry]
FAILED = [entry for entry in _INDEX["replies with status 200"] if "error" in entry]
ERRORS = _INDEX["bodies of errors"]


def response(body: bytes | str | Any, status: int = 200, /, **headers: str) -> Response:
    """An answer whose headers' names are given with _ in place of -."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body)
    return Response(
        status=status,
        headers=tuple((name.replace("_", "-"), value) for name, value in headers.items()),
        body=body.encode() if isinstance(body, str) else body,
        received_at=RECEIVED,
        bytes_sent=1000,
    )


def recorded(name: str, status: int = 200, /, **headers: str) -> Response:
    """An answer with a recorded body."""
    return response((FOLDER / name).read_bytes(), status, **headers)


def tame(text: str) -> bool:
    """Tells whether nothing in a text ends a line, drives a terminal or reorders what is shown."""
    return not any(
        unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(sign)
        in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        or sign in "\u200e\u200f\u061c\ufeff"
        for sign in text
    )
