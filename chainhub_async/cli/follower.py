"""Tracks one photo through its events: progress, saved files, what may have been billed."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path

import attrs

from chainhub_async.errors import Billed
from chainhub_async.events import (
    CallCancelled,
    DownloadProgress,
    Event,
    Paused,
    RequestQueued,
    RetryScheduled,
    Saved,
    UploadProgress,
)


class Stage(Enum):
    """The stage of a photo. The values are shown to the user."""

    QUEUED = "queued"
    UPLOAD = "uploading"
    WAIT = "waiting for the gateway"
    DOWNLOAD = "downloading"


@attrs.define(kw_only=True, eq=False)
class Follower:
    """Tracks one photo; passed to the client as `on_event`.

    Calls are told apart by kind, not by number: the upload, the polls of a task, and each download
    have numbers of their own.

    Attributes:
        on_stage: called with the stage, bytes done, and total bytes, if known.
        on_note: called with a note about a delay.
        resend_uncertain: whether calls that may have been executed are retried.
        sent: whether any byte of the photo has been sent.
        billed: what may have been billed for calls without a response.
        saved: the files that were written completely.
        fetched: the URLs they were downloaded from.
    """

    on_stage: Callable[[Stage, int, int | None], object]
    on_note: Callable[[str], object]
    resend_uncertain: bool = False
    sent: bool = False
    billed: Billed = Billed.NO
    saved: list[Path] = attrs.field(factory=list[Path])
    fetched: set[str] = attrs.field(factory=set[str])
    _whole: bool = False
    _addresses: dict[int, str] = attrs.field(factory=dict[int, str])

    def __call__(self, event: Event) -> None:
        """Records an event."""
        match event:
            case RequestQueued(images=images) if images:
                self.on_stage(Stage.QUEUED, 0, None)
            case UploadProgress():
                self._uploading(event)
            case RetryScheduled():
                # Without resend_uncertain, the client retries only what was not executed.
                if self._whole and self.resend_uncertain:
                    self.billed = Billed.worst(self.billed, Billed.MAYBE)
                self.on_note(f"retrying in {event.delay:.1f} s. {event.reason}")
            case Paused():
                self.on_note(f"the gateway requested a pause of {event.seconds:.0f} s.")
            case CallCancelled():
                self.billed = Billed.worst(self.billed, event.billed)
            case DownloadProgress():
                self._addresses[event.call] = event.url
                self.on_stage(Stage.DOWNLOAD, event.bytes_received, event.bytes_total)
            case Saved():
                self.saved.append(event.path)
                self.fetched.add(self._addresses[event.call])
            case _:
                pass

    def _uploading(self, event: UploadProgress) -> None:
        self.sent = True
        self._whole = event.bytes_sent == event.bytes_total
        stage = Stage.WAIT if self._whole else Stage.UPLOAD
        self.on_stage(stage, event.bytes_sent, event.bytes_total)
