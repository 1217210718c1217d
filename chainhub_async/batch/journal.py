"""Records a call's attempts in the ledger while they are made."""

from __future__ import annotations

from functools import partial

import anyio

from chainhub_async.batch import entries
from chainhub_async.batch.guard import Guard
from chainhub_async.batch.jobs import JobState
from chainhub_async.batch.ledger import Ledger
from chainhub_async.errors import Attempt, Billed, SpendLimitError


class CallJournal:
    """The journal of one call; see `transport.messages.Journal`.

    Attributes:
        attempt: the number of the current attempt, in the ledger; 0 before the first.
        is_open: whether it is being made.
        is_sent: whether the last bytes of the current attempt may have left.
        charges: how many attempts so far were, or may have been, billed.
        cancellation: the attempt that a cancellation ended.
        billed: whether the cancelled call, in any of its attempts, may have been billed.
    """

    def __init__(
        self, ledger: Ledger, guard: Guard, *, key: str, images: int, state: JobState
    ) -> None:
        self._ledger = ledger
        self._guard = guard
        self._key = key
        self._images = images
        # What was decided on. Meanwhile another input may have sent the same job.
        self._state = state
        self.attempt: int = 0
        self.is_open: bool = False
        self.is_sent: bool = False
        self.charges: int = 0
        self.cancellation: Attempt | None = None
        self.billed: Billed = Billed.NO

    async def begin(self) -> None:
        """Makes the intent durable before anything is sent."""
        self._guard.check(reserved=True)
        if self.charges and not self._guard.allows(self._images * self.charges):
            raise SpendLimitError(
                "Not sent again: it may have been billed, and max_images allows no second charge.",
                billed=Billed.MAYBE,
            )
        self.is_sent = False
        # Once recorded it must be known here as well, so that its end is recorded too.
        with anyio.CancelScope(shield=True):
            self.attempt = await self._ledger.write(
                partial(
                    entries.begin_attempt,
                    key=self._key,
                    run=self._ledger.run,
                    expected=self._state,
                )
            )
        self._state = JobState.SENDING
        self.is_open = True
        self._guard.check(reserved=True)  # it may have stopped meanwhile

    async def before_last(self) -> None:
        """Makes it durable that the attempt may be executed."""
        number = self.attempt
        await self._ledger.write(partial(entries.mark_sent, key=self._key, number=number))
        self.is_sent = self.attempt == number

    async def failed(self, attempt: Attempt) -> None:
        """Records an attempt that another follows."""
        self.charges += attempt.billed is not Billed.NO
        self.is_open = False
        await self._ledger.write(
            partial(entries.end_attempt, key=self._key, number=self.attempt, attempt=attempt)
        )

    def cancelled(self, attempt: Attempt, billed: Billed) -> None:
        """Keeps what is known, to be recorded with the outcome."""
        self.cancellation, self.billed = attempt, billed
