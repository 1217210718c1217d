"""The events passed to `on_event`, as frozen values.

The callback runs on the client's event loop, so it should return quickly. An exception it raises
is logged and otherwise ignored: a broken progress bar must not lose a result that is paid for.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from chainhub_async.errors import Billed


@attrs.frozen(kw_only=True)
class Event:
    """The base of all events.

    Attributes:
        call: sequence number of the call within the client; correlates its events.
    """

    call: int


@attrs.frozen(kw_only=True)
class RequestQueued(Event):
    """A call was checked and is queued. `images` is how many it counts as in `Limits`."""

    images: int


@attrs.frozen(kw_only=True)
class UploadProgress(Event):
    """Bytes of the body handed to the socket so far, in this attempt."""

    attempt: int
    bytes_sent: int
    bytes_total: int


@attrs.frozen(kw_only=True)
class ReplyReceived(Event):
    """A successful response was read completely."""

    status: int
    request_id: str | None


@attrs.frozen(kw_only=True)
class RetryScheduled(Event):
    """An attempt failed and is retried after `delay` seconds."""

    attempt: int
    delay: float
    reason: str


@attrs.frozen(kw_only=True)
class Paused(Event):
    """The gateway requested a pause: this client starts no call for `seconds`."""

    seconds: float


@attrs.frozen(kw_only=True)
class CallCancelled(Event):
    """The call was cancelled. `billed` says whether it may have cost money."""

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
    """A result file was written completely."""

    path: Path
    bytes_received: int
