"""When a failed call is sent again, and how often all of them together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainhub_async import ConfigurationError, RetryPolicy
from chainhub_async.errors import Billed, ConnectError, RateLimitError, ServerError
from chainhub_async.transport.evidence import AGAIN, Failure, Verdict
from chainhub_async.transport.retry import RetryBudget


def failure(
    resends: int = AGAIN, *, uncertain: bool = False, after: float | None = None
) -> Failure:
    billed = Billed.MAYBE if uncertain else Billed.NO
    return Failure(
        error=ServerError("x", retry_after=after),
        verdict=Verdict(billed=billed, resends=resends, uncertain=uncertain),
    )


def never(*_: object) -> float:
    raise AssertionError("no need to draw")


def test_the_defaults_are_those_promised() -> None:
    """At most 4 attempts; uniform(0, min(20 s, 0.5·2ⁿ)); 120 s; nothing uncertain."""
    policy = RetryPolicy()
    assert (policy.max_attempts, policy.base_delay, policy.max_delay) == (4, 0.5, 20.0)
    assert (policy.max_retry_after, policy.resend_uncertain) == (120.0, False)
    longest = [policy.delay(failure(), attempt, lambda: 1.0) for attempt in range(1, 6)]
    assert longest == [0.5, 1.0, 2.0, None, None]


@given(st.integers(1, 200), st.floats(0, 100), st.floats(0, 100), st.floats(0, 1, exclude_max=True))
def test_the_delay_is_full_jitter(attempt: int, base: float, most: float, draw: float) -> None:
    """From nothing up to the doubled base, never above `max_delay`, whatever the attempt."""
    policy = RetryPolicy(max_attempts=1000, base_delay=base, max_delay=most)
    delay = policy.delay(failure(), attempt, lambda: draw)
    assert delay == draw * min(most, base * 2.0 ** min(attempt - 1, 60))
    assert delay is not None
    assert 0 <= delay <= most


@pytest.mark.parametrize("attempt", [1, 100, 10_000, 10**9])
def test_no_attempt_overflows(attempt: int) -> None:
    """2 to that power is no float."""
    policy = RetryPolicy(max_attempts=10**10)
    delay = policy.delay(failure(10**10), attempt, lambda: 1.0)
    assert delay == min(20.0, 0.5 * 2.0 ** min(attempt - 1, 60))


@given(st.floats(0, 120), st.floats(0, 1, exclude_max=True))
def test_retry_after_is_a_floor(after: float, draw: float) -> None:
    """P11: the wait asked for, and jitter on top, so that not all come back at once."""
    delay = RetryPolicy().delay(failure(after=after), 1, lambda: draw)
    assert delay == after + draw * 0.5


@pytest.mark.parametrize(("after", "resent"), [(119.9, True), (120.0, True), (120.1, False)])
def test_a_longer_wait_than_allowed_gives_up(after: float, resent: bool) -> None:
    """P11: above `max_retry_after` it raises instead of sleeping."""
    delay = RetryPolicy().delay(failure(after=after), 1, lambda: 0.0)
    assert (delay is not None) is resent


@pytest.mark.parametrize("resends", [0, 1, 2, AGAIN])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 10])
def test_resends_are_counted(resends: int, most: int) -> None:
    """The verdict's own number and `max_attempts`, whichever is smaller."""
    policy = RetryPolicy(max_attempts=most)
    attempt = 1
    while policy.delay(failure(resends), attempt, lambda: 0.0) is not None:
        attempt += 1
    assert attempt == min(resends + 1, most)


def test_uncertain_is_never_resent_by_default() -> None:
    """P1."""
    assert RetryPolicy().delay(failure(0, uncertain=True), 1, never) is None


@pytest.mark.parametrize("most", [1, 4])
def test_uncertain_is_resent_when_asked_for_by_name(most: int) -> None:
    """The caller's risk, within `max_attempts` all the same."""
    policy = RetryPolicy(resend_uncertain=True, max_attempts=most)
    attempt = 1
    while policy.delay(failure(0, uncertain=True), attempt, lambda: 0.0) is not None:
        attempt += 1
    assert attempt == most


def test_that_risk_covers_nothing_else() -> None:
    """A refusal stays one."""
    policy = RetryPolicy(resend_uncertain=True)
    assert policy.delay(failure(0), 1, never) is None


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"max_attempts": 0}, "max_attempts is 0; a whole number from 1"),
        ({"max_attempts": True}, "max_attempts is True"),
        ({"max_attempts": 2.0}, "max_attempts is 2.0"),
        ({"max_attempts": None}, "max_attempts is None"),
        ({"base_delay": -1}, "base_delay is -1; a number of seconds, 0 or more"),
        ({"base_delay": float("nan")}, "base_delay is nan"),
        ({"max_delay": float("inf")}, "max_delay is inf"),
        ({"max_delay": "5"}, "max_delay is '5'"),
        ({"max_retry_after": None}, "max_retry_after is None"),
        ({"max_retry_after": 10**400}, "max_retry_after is 1000"),
        ({"resend_uncertain": "no"}, "resend_uncertain is 'no'; True or False"),
        ({"resend_uncertain": 1}, "resend_uncertain is 1"),
    ],
)
def test_a_bad_policy_is_refused(bad: dict[str, Any], says: str) -> None:
    """In a sentence with what is allowed."""
    with pytest.raises(ConfigurationError, match=says):
        RetryPolicy(**bad)


def test_policies_are_values() -> None:
    """Compared, hashed and frozen."""
    assert RetryPolicy() == RetryPolicy(max_attempts=4)
    assert len({RetryPolicy(), RetryPolicy(), RetryPolicy(max_delay=1)}) == 2
    with pytest.raises(AttributeError):
        RetryPolicy().max_attempts = 5  # type: ignore[misc]  # misuse on purpose


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(2, 20), st.randoms(use_true_random=False))
def test_the_budget_bounds_a_storm(inputs: int, most: int, random: Any) -> None:
    """P12: at most 1.2 attempts an input and a constant, when all fails, in whatever order."""
    budget, policy = RetryBudget(), RetryPolicy(max_attempts=most)
    waiting = [0] * inputs
    attempts = 0
    while waiting:
        at = random.randrange(len(waiting))
        if waiting[at] == 0:
            budget.call_started()
        waiting[at] += 1
        attempts += 1
        delay = policy.delay(failure(), waiting[at], random.random)
        if delay is None or not budget.take():
            del waiting[at]
    assert attempts <= 1.2 * inputs + 10
    assert attempts >= inputs


def test_the_budget_does_not_pile_up() -> None:
    """A long good time does not pay for a storm afterwards."""
    budget = RetryBudget()
    for _ in range(10_000):
        budget.call_started()
    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2


def test_the_budget_comes_back() -> None:
    """One resend for five calls, once the start is used up."""
    budget = RetryBudget()
    while budget.take():
        pass
    granted = 0
    for _ in range(100):
        budget.call_started()
        granted += budget.take()
    assert granted in {19, 20}  # a fifth is no binary fraction


def test_other_errors_have_no_floor() -> None:
    """Only an answer can ask for a wait."""
    verdict = Verdict(billed=Billed.NO, resends=AGAIN)
    for error in (ConnectError("x"), RateLimitError("x")):
        assert RetryPolicy().delay(Failure(error=error, verdict=verdict), 1, lambda: 0.0) == 0.0
