"""Everything a ledger knows of each input: as JSON, and as rows for a spreadsheet."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import attrs

from chainhub_async.batch.facts import LedgerEntry, LedgerReply
from chainhub_async.batch.reader import LedgerReader
from chainhub_async.cli.json_words import recorded_error_facts
from chainhub_async.errors import printable

_COLUMNS = (
    *("image", "state", "billed", "images", "prompt", "options", "saved"),
    *("error_type", "error_message", "status", "code", "request_id"),
    *("attempts", "history", "updated_at", "key"),
)
# With these a cell begins a formula, in one spreadsheet or another:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def facts(entry: LedgerEntry) -> dict[str, Any]:
    """Returns what `list --json` shows of an entry."""
    return {
        "image": entry.source or None,
        "key": entry.key,
        "state": entry.state.value,
        "billed": entry.billed.value,
        "images": entry.images,
        "options": [list(pair) for pair in entry.options],
        "saved": list(entry.saved),
        "error": recorded_error_facts(entry.error),
        "request_id": entry.request_id,
        "attempts": entry.attempts,
        "updated_at": entry.updated_at,
    }


def json_lines(reader: LedgerReader) -> Iterator[str]:
    """Yields an object for each input: ASCII only, so that it cannot control a terminal."""
    for entry in reader.entries():
        history, reply = _further(reader, entry)
        yield json.dumps(facts(entry) | {"history": history, "reply": _reply(reply)})


def csv_lines(reader: LedgerReader, *, escaped: bool) -> Iterator[str]:
    """Yields a header, and a row for each input.

    Args:
        reader: the ledger.
        escaped: escape control characters, as befits a terminal.
    """
    yield _row(list(_COLUMNS))
    for entry in reader.entries():
        history = reader.attempts(entry.key) if entry.key else ()
        cells: list[object] = [
            *(entry.source, entry.state, entry.billed.value, entry.images, entry.prompt),
            _json([list(pair) for pair in entry.options]),
            "\n".join(entry.saved),
            *(entry.error.get(name) for name in ("type", "message", "status", "code")),
            *(entry.request_id, entry.attempts, _json([attrs.asdict(each) for each in history])),
            *(entry.updated_at, entry.key),
        ]
        yield _row([printable(cell, 100_000) if escaped else cell for cell in map(_safe, cells)])


def _safe(cell: object) -> object:
    # Numbers are ours, and no formulas when negative; text is anybody's.
    if isinstance(cell, int):
        return cell
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULAS) else text


def _row(cells: list[object]) -> str:
    line = io.StringIO()
    # Cells are quoted that contain one of these: a lone "\r" must be, too.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _further(
    reader: LedgerReader, entry: LedgerEntry
) -> tuple[list[dict[str, Any]], LedgerReply | None]:
    if entry.key is None:
        return [], None
    return [attrs.asdict(each) for each in reader.attempts(entry.key)], reader.reply(entry.key)


def _reply(reply: LedgerReply | None) -> dict[str, Any] | None:
    if reply is None:
        return None
    body: dict[str, str] = (
        {"body_base64": base64.b64encode(reply.body).decode()}
        if isinstance(reply.body, bytes)
        else {"body": reply.body}
    )
    head = {"status": reply.status, "headers": reply.headers, "received_at": reply.received_at}
    return head | body
