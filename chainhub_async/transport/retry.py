"""Decides whether and when to retry a failure. Pure: randomness is passed in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from chainhub_async.errors import ConfigurationError
from chainhub_async.transport.evidence import Failure

# Once this many retries are used up, at most one call in five is retried: when everything fails,
# retries only add load.
_BUDGET_START = 10.0
_BUDGET_PER_CALL = 0.2


def _seconds(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a number of seconds, 0 or more, is allowed."
        )


def _attempts(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a whole number from 1 is allowed."
        )


def _yes_or_no(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    # Not just truthy: a string such as "no" would spend money here.
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} is {value!r}; True or False is allowed.")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When to retry a failed call. By default, only if it provably was not executed.

    Attributes:
        max_attempts: total attempts; 1 disables retries.
        base_delay: seconds. The delay before the second attempt is random, up to this; before the
            third, up to twice this; and so on.
        max_delay: upper limit of the random delay, in seconds.
        max_retry_after: the longest `Retry-After` to honour, in seconds; beyond it the call fails
            with `retry_at` set.
        resend_uncertain: also retry calls that **may have been executed**, such as one that got no
            response. Each such retry risks paying for the same image again.
    """

    max_attempts: int = attrs.field(default=4, validator=_attempts)
    base_delay: float = attrs.field(default=0.5, validator=_seconds)
    max_delay: float = attrs.field(default=20.0, validator=_seconds)
    max_retry_after: float = attrs.field(default=120.0, validator=_seconds)
    resend_uncertain: bool = attrs.field(default=False, validator=_yes_or_no)

    def delay(self, failure: Failure, attempt: int, draw: Callable[[], float]) -> float | None:
        """Returns the seconds to wait before the next attempt, or None to give up.

        Args:
            failure: how attempt number `attempt` ended.
            attempt: from 1.
            draw: returns a random number from 0 to 1.
        """
        allowed = failure.verdict.resends
        if failure.verdict.uncertain and self.resend_uncertain:
            allowed = self.max_attempts
        if attempt > allowed or attempt >= self.max_attempts:
            return None
        floor = failure.error.retry_after or 0.0
        if floor > self.max_retry_after:
            return None
        # Full jitter; the exponent is bounded so that a large max_attempts cannot overflow.
        return floor + draw() * min(self.max_delay, self.base_delay * 2.0 ** min(attempt - 1, 60))


class RetryBudget:
    """Limits the retries of all calls of a client together."""

    def __init__(self) -> None:
        self._left = _BUDGET_START

    def call_started(self) -> None:
        """A call starts, and adds its share to the budget."""
        self._left = min(_BUDGET_START, self._left + _BUDGET_PER_CALL)

    def take(self) -> bool:
        """Returns whether one more retry is within the budget, and if so uses it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
