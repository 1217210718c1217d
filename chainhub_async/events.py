"""What a client reports while it works, as frozen values handed to `on_event`.

The callback runs on the event loop, between two steps of a call: it should return at once. An
exception it raises is logged and otherwise ignored, since a broken progress bar must not cost a
result that is paid for.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from chainhub_async.errors import Billed


@attrs.frozen(kw_only=True)
class Event:
    """The base of all events.

    Attributes:
        call: numbers the calls of a client, so that events of one call can be told together.
    """

    call: int


@attrs.frozen(kw_only=True)
class RequestQueued(Event):
    """A call has been checked and waits for its turn. `images` is its weight."""

    images: int


@attrs.frozen(kw_only=True)
class UploadProgress(Event):
    """Bytes of the body handed to the socket so far, in this attempt."""

    attempt: int
    bytes_sent: int
    bytes_total: int


@attrs.frozen(kw_only=True)
class ReplyReceived(Event):
    """A final answer was read whole."""

    status: int
    request_id: str | None


@attrs.frozen(kw_only=True)
class RetryScheduled(Event):
    """An attempt failed without having been executed; the next starts after `delay` seconds."""

    attempt: int
    delay: float
    reason: str


@attrs.frozen(kw_only=True)
class Paused(Event):
    """The gateway asked for fewer calls: no call of this client starts for `seconds`."""

    seconds: float


@attrs.frozen(kw_only=True)
class CallCancelled(Event):
    """The caller cancelled the call. `billed` says whether it may have been executed."""

    attempt: int
    bytes_sent: int
    billed: Billed


@attrs.frozen(kw_only=True)
class DownloadProgress(Event):
    """Bytes of a result written so far; `bytes_total` is None when the server does not say."""

    url: str
    bytes_received: int
    bytes_total: int | None


@attrs.frozen(kw_only=True)
class Saved(Event):
    """A result stands complete under its final name."""

    path: Path
    bytes_received: int
