"""What goes into a batch comes out as one of these values. No I/O."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import TypeAlias

import attrs

from chainhub_async.errors import Billed, ChainHubError
from chainhub_async.models import ReplaceBackground, ReplaceBackgroundResult

Requests: TypeAlias = Iterable[ReplaceBackground] | AsyncIterable[ReplaceBackground]
"""The inputs of a batch."""


class _Text(str, enum.Enum):
    def __str__(self) -> str:
        return str(self.value)


class JobState(_Text):
    """How far a job has come. The ledger knows all of these but `SKIPPED`."""

    PENDING = "PENDING"
    """Not executed: not started, or it failed in a way that cost nothing. A resume sends it."""
    SENDING = "SENDING"
    """Being sent, in the ledger only. Found by a resume: interrupted; what was sent decides."""
    ACCEPTED = "ACCEPTED"
    """Paid for, with the response in the ledger; its images are not all saved."""
    SAVED = "SAVED"
    """Paid for, and every image that can be downloaded is saved."""
    REFUSED = "REFUSED"
    """Refused, here or by the gateway, and not billed. A resume sends it only on request."""
    UNCERTAIN = "UNCERTAIN"
    """Maybe billed, or billed without a usable result. A resume sends it only on request."""
    EXPIRED = "EXPIRED"
    """Paid for, but its images were not saved within the 24 hours that they exist."""
    SKIPPED = "SKIPPED"
    """Done by an earlier run; nothing was sent or downloaded."""


class PlanAction(_Text):
    """What a run would do with an input."""

    SEND = "SEND"
    """Send it, which costs money."""
    DOWNLOAD = "DOWNLOAD"
    """Fetch what an earlier run paid for."""
    SKIP = "SKIP"
    """Nothing: it is done."""
    HOLD = "HOLD"
    """Nothing until you decide: it may have been billed, its result has expired or cannot be read,
    or it is a task and `task_path` is not given."""
    REFUSE = "REFUSE"
    """Nothing: it is invalid, or was refused before."""
    DUPLICATE = "DUPLICATE"
    """Save the result of an earlier input once more, for free."""


@attrs.frozen(kw_only=True)
class Outcome:
    """How one input of a batch ended.

    Attributes:
        request: the input.
        index: its position among the inputs, from 0.
        key: identifies the job in the ledger: a SHA-256 in hexadecimal of the bytes and options
            sent. None if the input could not be read, or was not reached before the batch stopped.
        state: how it ended.
        result: the gateway's result, if there is one, also from an earlier run.
        error: why it is not saved, or could not be recorded.
        saved: the files of this input's images.
        billed: whether the job, in any run so far, cost money.
        spent: how many images this run was or may have been billed for this input.
    """

    request: ReplaceBackground
    index: int
    key: str | None = None
    state: JobState
    result: ReplaceBackgroundResult | None = None
    error: ChainHubError | None = None
    saved: tuple[Path, ...] = ()
    billed: Billed = Billed.NO
    spent: int = 0


@attrs.frozen(kw_only=True)
class PlannedJob:
    """What a run would do with one input.

    Attributes:
        request: the input.
        index: its position among the inputs, from 0.
        key: see `Outcome`.
        action: what would be done.
        images: how many images would be billed.
        billed: whether the job, in any run so far, cost money. If it is not NO and the action is
            SEND, it is paid for again, or may be.
        error: why it would be held or refused.
    """

    request: ReplaceBackground
    index: int
    key: str | None = None
    action: PlanAction
    images: int = 0
    billed: Billed = Billed.NO
    error: ChainHubError | None = None
