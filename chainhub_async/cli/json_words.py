"""The names that `--json` uses, in every command the same for what is the same. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainhub_async.errors import ChainHubError

_ERROR = ("type", "message", "billed", "status", "code", "request_id")

OUTCOME_HELP = (
    "Print one line of JSON per photo instead of paths: index, image (its path, as given), state "
    "(SAVED, REFUSED and so on, as in a ledger), billed (no, maybe or yes), saved (paths), "
    "withheld (how many images), request_id, error (type, message, billed, status, code, "
    "request_id), "
)
"""Begins the help of `--json` where photos are sent; the command says what else there is."""


def error_facts(error: ChainHubError) -> dict[str, Any]:
    """Returns what is told of an error."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "billed": error.billed.value,
        "status": error.status,
        "code": error.code,
        "request_id": error.request_id,
    }


def recorded_error_facts(error: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the same of an error as a ledger has it; None if there is none."""
    return {name: error.get(name) for name in _ERROR} if error else None
