"""A job in progress, and how far it is."""

from __future__ import annotations

import anyio
import attrs

from chainhub_async.batch.calls import Answer
from chainhub_async.batch.journal import CallJournal
from chainhub_async.batch.ledger import Work
from chainhub_async.errors import Billed


@attrs.define(eq=False)
class Activity:
    """A job in progress.

    Attributes:
        scope: cancelled to end it.
        journal: of its call, once it has one.
        answer: what came of the call.
        is_fetching: whether it is paid for since an earlier run, and now fetched.
    """

    scope: anyio.CancelScope = attrs.field(factory=lambda: anyio.CancelScope(shield=True))
    journal: CallJournal | None = None
    answer: Answer | None = None
    is_fetching: bool = False

    @property
    def unrecorded(self) -> Work[None] | None:
        """What of its answer could not be recorded."""
        return None if self.answer is None else self.answer.unrecorded

    def recorded(self) -> None:
        """It was, together with something else."""
        if self.answer is not None and self.answer.unrecorded is not None:
            self.answer = attrs.evolve(self.answer, error=None, unrecorded=None)

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is being sent or fetched for it."""
        if self.answer is not None or self.is_fetching:
            return False
        return self.journal is None or not self.journal.is_open

    @property
    def is_worth_waiting_for(self) -> bool:
        """Whether it is, or may be, paid for."""
        if self.answer is not None or self.is_fetching:
            return True
        return self.journal is not None and self.journal.is_open and self.journal.is_sent

    @property
    def charges(self) -> int:
        """How many attempts of a call that was cut were, or may have been, billed."""
        journal = self.journal
        if journal is None or journal.billed is Billed.NO:
            return 0
        return max(1, journal.charges + (journal.is_open and journal.is_sent))
