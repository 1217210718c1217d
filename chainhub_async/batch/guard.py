"""Decides whether a batch may start another call: what stops it, and what it may spend."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from chainhub_async.errors import (
    AuthenticationError,
    BatchError,
    BatchStoppedError,
    Billed,
    ChainHubError,
    ClosedError,
    ConfigurationError,
    ImageChangedError,
    InsufficientBalanceError,
    InvalidRequestError,
    PermissionDeniedError,
    SaveError,
    SpendLimitError,
)

CONCERNS_ALL = (
    AuthenticationError,
    BatchError,
    ClosedError,
    ConfigurationError,
    InsufficientBalanceError,
    PermissionDeniedError,
)
"""Errors of the account or the client, which concern every call alike."""

# One after another, without a success: the gateway is down or broken, and each may cost money.
_MOST_FAILURES_IN_A_ROW = 50
# Of results that cannot be written to disk, as when it is full.
_MOST_UNWRITTEN = 3
# Statuses of a wrong base URL.
_WRONG_ADDRESS = {404, 405}


class Guard:
    """Shared by all calls of a batch.

    Args:
        max_images: how many images the batch may buy, or None.
        max_retry_after: for how many seconds a pause is waited for.
        on_stop: called when the batch stops, but not when it only may not spend more.

    Attributes:
        stopped: why nothing new is started, or None.
        spent: how many images were, or may have been, billed.
    """

    def __init__(
        self, max_images: int | None, max_retry_after: float, on_stop: Callable[[], None]
    ) -> None:
        self.stopped: ChainHubError | None = None
        self.spent: int = 0
        self._max_images = max_images
        self._max_retry_after = max_retry_after
        self._on_stop = on_stop
        self._reserved = 0
        self._failures = 0
        self._unsaved = 0
        self._changed = anyio.Event()

    def stop(self, reason: ChainHubError) -> None:
        """Starts nothing new; only the first reason counts, unless it is the spend limit."""
        if self.stopped is None or isinstance(self.stopped, SpendLimitError):
            self.stopped = reason
            self._notify()
            if not isinstance(reason, SpendLimitError):
                self._on_stop()

    def check(self, *, reserved: bool = False) -> None:
        """Does nothing while calls may be started.

        Args:
            reserved: whether what the call may cost was set aside already.

        Raises:
            BatchError: the batch has stopped; the message says why.
        """
        reason = self.stopped
        if reason is None or (reserved and isinstance(reason, SpendLimitError)):
            return
        if isinstance(reason, BatchError):
            raise type(reason)(reason.message)
        raise BatchStoppedError(f"Not started, since the batch was stopped: {reason.message}")

    async def reserve(self, images: int) -> None:
        """Sets aside what a call may cost, waiting until it is known whether enough is left.

        Raises:
            BatchError: the batch has stopped.
            SpendLimitError: the call could exceed `max_images`.
        """
        while True:
            self.check()
            if self.allows(images):
                self._reserved += images
                return
            if not self._reserved:
                break
            await self._changed.wait()
        self.stop(
            SpendLimitError(
                f"Not started: the batch was or may have been billed for {self.spent} images, and "
                f"max_images={self._max_images} does not allow {images} more."
            )
        )
        self.check()

    def settle(self, images: int, charges: int) -> None:
        """Ends a reservation.

        Args:
            images: what was reserved.
            charges: for how many times that much it was, or may have been, billed.
        """
        self._reserved -= images
        self.spent += images * charges
        self._notify()

    def allows(self, images: int) -> bool:
        """Returns whether so many images more than was reserved may be bought."""
        return self._max_images is None or self.spent + self._reserved + images <= self._max_images

    def judge(self, error: ChainHubError | None) -> None:
        """Takes note of how a call ended, and stops the batch if all others would end like it."""
        if error is None:
            self._failures = 0
            return
        if isinstance(error, SpendLimitError):
            return  # of one call that was not to be sent again; `reserve` stops the batch itself
        if isinstance(error, CONCERNS_ALL) or (error.retry_after or 0.0) > self._max_retry_after:
            self.stop(error)
            return
        # Of the others, only what the input is not to blame for.
        if isinstance(error, InvalidRequestError | ImageChangedError):
            return
        status = error.status or 500
        if (
            status >= 500
            or status < 400
            or status in _WRONG_ADDRESS
            or error.billed is not Billed.NO
        ):
            self._failures += 1
        if self._failures >= _MOST_FAILURES_IN_A_ROW:
            self.stop(
                BatchStoppedError(
                    f"The batch was stopped after {self._failures} failures in a row. The last "
                    f"one: {error.message}"
                )
            )

    def judge_delivery(self, error: ChainHubError | None) -> None:
        """Takes note of how saving ended: results that cannot be saved are not worth buying."""
        if error is None:
            self._unsaved = 0
            return
        self._unsaved += 1
        most = _MOST_UNWRITTEN if isinstance(error, SaveError) else _MOST_FAILURES_IN_A_ROW
        if self._unsaved >= most:
            self.stop(
                BatchStoppedError(
                    f"The batch was stopped since {self._unsaved} results in a row could not be "
                    f"saved. The last one: {error.message}"
                )
            )

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
