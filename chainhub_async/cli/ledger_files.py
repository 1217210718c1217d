"""Whether the files that a ledger knows as saved are still what was saved. Blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import attrs

from chainhub_async.batch.facts import LedgerFile
from chainhub_async.batch.records import SavedFile

# For which the gateway keeps results.
_KEPT = timedelta(hours=24)


@attrs.frozen(kw_only=True)
class FileCounts:
    """What became of the files of results that are `SAVED`.

    Attributes:
        unchanged: how many are as they were saved.
        changed: how many were changed since.
        gone: how many are not where they were saved, or empty.
        gone_lately: how many of those gone were made in the last 24 hours, in which the gateway
            still has them.
    """

    unchanged: int = 0
    changed: int = 0
    gone: int = 0
    gone_lately: int = 0


def look(files: Iterable[LedgerFile]) -> FileCounts:
    """Returns what became of files."""
    since = (datetime.now(timezone.utc) - _KEPT).isoformat()
    found = Counter(word for file in files for word in _conditions(file, since))
    return FileCounts(**found)


def _conditions(recorded: LedgerFile, since: str) -> tuple[str, ...]:
    file = SavedFile(
        number=recorded.number,
        path=recorded.path,
        bytes=recorded.bytes,
        modified_ns=recorded.modified_ns,
    )
    if file.is_unchanged():
        return ("unchanged",)
    if file.exists():
        return ("changed",)
    return ("gone", "gone_lately") if (recorded.received_at or "") > since else ("gone",)
