"""One input of a batch on its way: checked, identified, and with what the ledger knows of it."""

from __future__ import annotations

import attrs

from chainhub_async.batch.entries import Job
from chainhub_async.batch.facts import SavedFile
from chainhub_async.batch.identity import Identity
from chainhub_async.batch.jobs import PlanAction
from chainhub_async.errors import ChainHubError
from chainhub_async.models import ReplaceBackground, ReplaceBackgroundResult
from chainhub_async.transport.messages import Request


@attrs.frozen(kw_only=True)
class Input:
    """An input as it was given.

    Attributes:
        index: its position among the inputs, from 0.
        request: the call.
        source: where its image comes from, as stored; empty for one in memory.
    """

    index: int
    request: ReplaceBackground
    source: str


@attrs.frozen(kw_only=True)
class Refused:
    """An input that cannot become a job.

    Attributes:
        input: the input.
        error: why.
    """

    input: Input
    error: ChainHubError


@attrs.frozen(kw_only=True)
class Item:
    """An input that is a job.

    Attributes:
        input: the input.
        http: the request that would send it.
        identity: the job's identity.
    """

    input: Input
    http: Request = attrs.field(repr=False)
    identity: Identity

    @property
    def key(self) -> str:
        """The job's key."""
        return self.identity.key


@attrs.frozen(kw_only=True)
class Decision:
    """What is to be done with an item.

    Attributes:
        item: the item.
        action: `SEND`, `DOWNLOAD`, `SKIP`, `HOLD` or `REFUSE`.
        job: what the ledger knows of the job.
        result: the result, if it is paid for.
        is_of_this_run: whether this run tried to send the job.
        stem: the name of its files; see `naming`.
        outputs: the files saved for this input, all of them unchanged.
    """

    item: Item
    action: PlanAction
    job: Job
    result: ReplaceBackgroundResult | None = None
    is_of_this_run: bool = False
    stem: str = ""
    outputs: tuple[SavedFile, ...] = ()
