"""Paths as people read them. Pure."""

from __future__ import annotations

from chainhub_async.errors import printable

# Longer than paths may be on any usual system.
_LONGEST_PATH = 5000


def shown_path(path: object) -> str:
    """Returns a path on one line, with control characters escaped."""
    return printable(path, _LONGEST_PATH)
