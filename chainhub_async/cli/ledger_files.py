"""Whether the files that a ledger knows as saved are still what was saved. Blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import attrs

from chainhub_async.batch.facts import LedgerFile

# For which the gateway keeps results.
_KEPT = timedelta(hours=24)


@attrs.frozen(kw_only=True)
class FileCounts:
    """What became of the files of results that are `SAVED`.

    Attributes:
        unchanged: how many are as they were saved.
        changed: how many were changed since.
        gone: how many are not where they were saved, or empty.
        gone_downloadable: how many of those gone were made in the last 24 hours, in which the
            gateway still has them.
    """

    unchanged: int = 0
    changed: int = 0
    gone: int = 0
    gone_downloadable: int = 0


def look(files: Iterable[LedgerFile]) -> FileCounts:
    """Returns what became of files."""
    since = (datetime.now(timezone.utc) - _KEPT).isoformat()
    found = Counter(word for file in files for word in _conditions(file, since))
    return FileCounts(**found)


def _conditions(recorded: LedgerFile, since: str) -> tuple[str, ...]:
    if recorded.saved.is_unchanged():
        return ("unchanged",)
    if recorded.saved.exists():
        return ("changed",)
    is_downloadable = (recorded.received_at or "") > since
    return ("gone", "gone_downloadable") if is_downloadable else ("gone",)
