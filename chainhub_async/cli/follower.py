"""What the events of one photo's calls tell: how far it is, what is saved, what may be billed."""

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
    """Where a photo is. The values are what is shown."""

    QUEUED = "waiting for its turn"
    UPLOAD = "uploading"
    WAIT = "waiting for the gateway"
    DOWNLOAD = "downloading"


@attrs.define(kw_only=True, eq=False)
class Follower:
    """Follows one photo; given to the client as `on_event`.

    Calls are told apart by kind, not by number: the upload, the questions about a task, and each
    download have numbers of their own.

    Attributes:
        on_stage: called with the stage, bytes done, and bytes in all, if known.
        on_note: called with a sentence about a delay.
        resend_uncertain: whether what may have been executed is sent again.
        sent: whether any byte of the photo has been sent.
        billed: what may have been billed for calls without an answer.
        saved: the files that stand complete.
        fetched: the addresses they came from.
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
        """Takes note of an event."""
        match event:
            case RequestQueued(images=images) if images:
                self.on_stage(Stage.QUEUED, 0, None)
            case UploadProgress():
                self._uploading(event)
            case RetryScheduled():
                # Unless told to take the risk, the client resends only what was not executed.
                if self._whole and self.resend_uncertain:
                    self.billed = Billed.worst(self.billed, Billed.MAYBE)
                self.on_note(f"trying again in {event.delay:.1f} s. {event.reason}")
            case Paused():
                self.on_note(f"the gateway asks for a pause of {event.seconds:.0f} s.")
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
