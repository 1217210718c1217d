"""`Retry-After`, and the budget of all resends together."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import anyio
import pytest

from chainhub_async import Billed, RetryPolicy, errors
from chainhub_async.events import Event, Paused, RetryScheduled
from chainhub_async.testing import bad_answers as b
from chainhub_async.testing import faults as f
from chainhub_async.testing.misbehaving import MisbehavingServer

from .conftest import MakeHub
from .support import photo_of

pytestmark = pytest.mark.anyio


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("1", 1.0, 1.9),
        ("0", 0, 0.9),
        ("date", 0.5, 2.6),
        ("past", 0, 0.9),
        ("soon", 0, 0.9),
        ("-5", 0, 0.9),
        ("1.5", 0, 0.9),
        ("1, 2", 0, 0.9),
        ("99999999999", 0, 0.9),
        ("१", 0, 0.9),
        ("", 0, 0.9),
    ],
)
async def test_floor_of_the_delay(
    server: MisbehavingServer, make_hub: MakeHub, value: str, least: float, most: float
) -> None:
    """Seconds and dates are waited for; anything else is as if it were not there."""
    events: list[Event] = []
    hub = make_hub(server, on_event=events.append)
    value = {"date": in_seconds(2), "past": in_seconds(-100)}.get(value, value)
    server.script(b.TooManyRequests(value))
    started = time.monotonic()
    await hub.ideogram.replace_background(photo_of(2000))
    assert least <= time.monotonic() - started < 20
    (retry,) = [event for event in events if isinstance(event, RetryScheduled)]
    assert least <= retry.delay <= most
    pauses = [event.seconds for event in events if isinstance(event, Paused)]
    assert all(seconds <= retry.delay for seconds in pauses)
    assert bool(pauses) == ((value != "0" and "GMT" not in value) or least > 0)
    assert sum(server.billed.values()) == 1


async def test_date_is_read_by_the_servers_clock(
    server: MisbehavingServer, make_hub: MakeHub
) -> None:
    """A date counts from the answer's own `Date`: the two clocks may differ by years."""
    hub = make_hub(server)
    headers = (
        ("Date", "Mon, 05 Jan 2015 10:00:00 GMT"),
        ("Retry-After", "Mon, 05 Jan 2015 10:00:01 GMT"),
    )
    server.script(b.EmptyError(429, headers=headers))
    started = time.monotonic()
    await hub.ideogram.replace_background(photo_of(2000))
    assert 1 <= time.monotonic() - started < 20


@pytest.mark.parametrize("status", [429, 503])
async def test_too_long(server: MisbehavingServer, make_hub: MakeHub, status: int) -> None:
    """Asked to wait longer than allowed, a call raises at once and says when to come back."""
    hub = make_hub(server)
    server.always(b.EmptyError(status, headers=(("Retry-After", "3600"),)))
    started = time.monotonic()
    with pytest.raises(
        errors.APIError, match=r"Retry-After is 3600 s, longer than RetryPolicy\.max_retry_after"
    ) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert time.monotonic() - started < 20
    assert caught.value.retry_after == 3600
    assert caught.value.retry_at is not None
    left = caught.value.retry_at - datetime.now(timezone.utc)
    assert timedelta(seconds=3590) < left <= timedelta(seconds=3600)
    assert caught.value.billed is Billed.NO
    assert len(server.received) == 1
    # Nobody else is held back by it.
    server.always(f.AnswerWell())
    await hub.ideogram.replace_background(photo_of(2000))


@pytest.mark.parametrize(
    "fault", [f.AcceptAndClose(), b.TooManyRequests(), f.EarlyStatus(500)], ids=repr
)
async def test_budget(server: MisbehavingServer, make_hub: MakeHub, fault: f.Fault) -> None:
    """When all fails, attempts stay within 1.2 times the calls and a constant."""
    hub = make_hub(server, retry=RetryPolicy(base_delay=0.001, max_attempts=10))
    server.always(fault)
    calls = 60

    async def call() -> None:
        with pytest.raises(errors.ChainHubError):
            await hub.ideogram.replace_background(photo_of(400_000))

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(call)
    attempts = max(server.connections, len(server.received))
    assert calls <= attempts <= 1.2 * calls + 10
    assert not sum(server.billed.values())


async def test_uncertain_stays_uncertain(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """After a resend that was risked, a plain refusal does not hide what came before."""
    hub = make_hub(server, retry=RetryPolicy(base_delay=0.01, resend_uncertain=True))
    server.script(f.NoAnswer(), b.HtmlError(400))
    with pytest.raises(errors.BadRequestError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert [attempt.billed for attempt in caught.value.attempts] == [Billed.MAYBE, Billed.NO]
    assert caught.value.billed is Billed.MAYBE


async def test_max_attempts(server: MisbehavingServer, make_hub: MakeHub) -> None:
    """One attempt is one attempt."""
    hub = make_hub(server, retry=RetryPolicy(max_attempts=1))
    server.always(b.TooManyRequests(0))
    with pytest.raises(errors.RateLimitError) as caught:
        await hub.ideogram.replace_background(photo_of(2000))
    assert len(server.received) == len(caught.value.attempts) == 1
