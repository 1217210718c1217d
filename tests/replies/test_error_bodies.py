"""Every known form of an error body, under every status it comes with."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import errors, times
from chainhub_async.errors import Billed
from chainhub_async.transport import decode
from chainhub_async.transport.errorbody import ErrorBody
from replies.recorded import ERRORS, RECEIVED, recorded, response

KINDS: dict[int, type[errors.APIError]] = {
    101: errors.APIError,
    300: errors.RedirectError,
    301: errors.RedirectError,
    303: errors.RedirectError,
    304: errors.RedirectError,
    307: errors.RedirectError,
    308: errors.RedirectError,
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.InsufficientBalanceError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    405: errors.BadRequestError,
    408: errors.BadRequestError,
    413: errors.PayloadTooLargeError,
    418: errors.BadRequestError,
    422: errors.ContentRejectedError,
    425: errors.BadRequestError,
    429: errors.RateLimitError,
    431: errors.BadRequestError,
    500: errors.ServerError,
    502: errors.ServerError,
    503: errors.ServerError,
    504: errors.ServerError,
    522: errors.ServerError,
    524: errors.ServerError,
    599: errors.ServerError,
    999: errors.ServerError,
}
NO_BALANCE = [
    "insufficient_quota", "insufficient_user_quota", "pre_consume_token_quota_failed",
    "insufficient_funds", 1100, 1101, 1102, "1100", "1101", "1102", "Insufficient_Quota",
]  # fmt: skip


def told(body: Any, status: int, /, **headers: str) -> Any:
    return decode.api_error(response(body, status, **headers), Billed.NO, max_retry_after=120)


@pytest.mark.parametrize("status", KINDS)
@pytest.mark.parametrize("entry", ERRORS, ids=lambda entry: entry["file"])
def test_every_body_under_every_status(entry: dict[str, Any], status: int) -> None:
    """The status names the class; words, code and id come from whatever form the body has."""
    answer = recorded(entry["file"], status)
    billed = list(Billed)[status % 3]
    error = decode.api_error(answer, billed, max_retry_after=120)
    assert type(error) is KINDS[status]
    assert (error.status, error.billed, error.body) == (status, billed, answer.body)
    assert error.code == entry.get("code", error.code)
    assert error.request_id == entry.get("request_id")
    assert str(status) in str(error)
    assert len(str(error)) < 600
    if type(error) is not errors.RedirectError:
        assert entry.get("says", "") in str(error)


@pytest.mark.parametrize("status", [402, 403, 429])
@pytest.mark.parametrize("code", NO_BALANCE)
@pytest.mark.parametrize("place", ["code", "type", "outer", "outer type"])
def test_no_balance_is_not_too_fast(status: int, code: str | int, place: str) -> None:
    """Coming back later is of no use then: nothing may take it for a rate limit."""
    bodies: dict[str, Any] = {
        "code": {"error": {"message": "m", "code": code}},
        "type": {"error": {"message": "m", "type": code, "code": None}},
        "outer": {"code": code, "message": "m", "data": None},
        "outer type": {"type": code, "message": "m"},
    }
    error = told(bodies[place], status)
    assert type(error) is errors.InsufficientBalanceError
    parsed = ErrorBody.of(bodies[place])
    assert (parsed.no_balance, parsed.refuses) == (True, True)


@pytest.mark.parametrize("code", [1103, 1099, 11011, "rate_limit_exceeded", "quota", True, 1101.5])
def test_too_fast_is_not_no_balance(code: object) -> None:
    """What only resembles those codes does not stop a batch."""
    assert type(told({"error": {"code": code}}, 429)) is errors.RateLimitError


def test_balance_is_not_guessed_from_words() -> None:
    """Words change; only codes decide."""
    error = told({"error": {"message": "insufficient_quota of patience"}}, 429)
    assert type(error) is errors.RateLimitError


def test_what_comes_back_later_in_vain() -> None:
    """503 `model_not_found` is permanent for that key."""
    assert ErrorBody.of({"error": {"code": "model_not_found"}}).permanent
    assert not ErrorBody.of({"error": {"code": "overloaded"}}).permanent


def test_redirects_name_their_target() -> None:
    """The sentence and `location` say where it wanted to send the call."""
    error = told("", 307, Location="https://elsewhere.example/x")
    assert error.location == "https://elsewhere.example/x"
    assert "'https://elsewhere.example/x'" in str(error)
    assert told("", 304).location is None


def test_hints() -> None:
    """What to look at is said where it is known."""
    assert "API key" in str(told("", 401))
    assert "base URL" in str(told("", 404))
    assert "too large" in str(told("", 413))


HTTP_DATES = {
    "IMF-fixdate": "%a, %d %b %Y %H:%M:%S GMT",
    "RFC 850": "%A, %d-%b-%y %H:%M:%S GMT",
    "asctime": "%a %b %d %H:%M:%S %Y",
}


@pytest.mark.parametrize("form", HTTP_DATES.values(), ids=HTTP_DATES)
@pytest.mark.parametrize("ahead", [90, -3600])
@pytest.mark.parametrize("skew", [timedelta(0), timedelta(days=400), timedelta(days=-400)])
def test_retry_after_as_a_date(form: str, ahead: int, skew: timedelta) -> None:
    """RFC 9110 §5.6.7, all three forms, read against the reply's own clock; never negative."""
    theirs = RECEIVED + skew
    until = (theirs + timedelta(seconds=ahead)).strftime(form)
    error = told("", 429, Retry_After=until, Date=theirs.strftime(HTTP_DATES["IMF-fixdate"]))
    assert error.retry_after == max(0, ahead)
    assert error.retry_at == RECEIVED + timedelta(seconds=max(0, ahead))


@pytest.mark.parametrize("date", [None, "", "yesterday", "2026-01-05T02:11:30Z"])
def test_retry_after_without_a_date_to_read_it_by(date: str | None) -> None:
    """This machine's clock then."""
    until = (RECEIVED + timedelta(seconds=90)).strftime(HTTP_DATES["IMF-fixdate"])
    headers = {} if date is None else {"Date": date}
    assert told("", 429, Retry_After=until, **headers).retry_after == 90


@pytest.mark.parametrize(
    ("sent", "seconds"), [("0", 0), ("7", 7), (" 7 ", 7), ("007", 7), ("9999999999", 9999999999)]
)
def test_retry_after_in_seconds(sent: str, seconds: int) -> None:
    """Up to ten digits."""
    error = told("", 429, Retry_After=sent)
    assert error.retry_after == seconds
    assert error.retry_at == RECEIVED + timedelta(seconds=seconds)


def test_retry_after_beyond_the_calendar() -> None:
    """A wait that no datetime can express has no `retry_at`."""
    end = datetime.max.replace(tzinfo=timezone.utc)
    assert times.later(end, 1.0) is None
    assert times.later(end, 0.0) == end


@pytest.mark.parametrize(
    "sent",
    [
        "", " ", "-5", "+5", "1.5", "1e3", "0x10", "soon", "12345678901", "٣", "5 s", "5, 7",
        "120, Mon, 05 Jan 2026 02:12:30 GMT", "Mon, 99 Jan 2026 02:12:30 GMT", "Mon", "Mon, ",
        "Mon, 05 Jan 99999 02:12:30 GMT", "2026-01-05T02:12:30Z", "Mon, 05 Foo 2026 02:12:30 GMT",
        "M" * 1000, "Mon, 05 Jan 2026 02:12:30 +9999",
    ],
)  # fmt: skip
def test_retry_after_that_is_garbage_is_absent(sent: str) -> None:
    """PROMISES: anything but its two forms."""
    error = told("", 429, Retry_After=sent)
    assert (error.retry_after, error.retry_at) == (None, None)


def test_the_first_retry_after_counts() -> None:
    """Where there are several headers."""
    answer = response("", 429, Retry_After="3", retry_after="9")
    assert decode.wait_asked_for(answer) == 3


def test_a_wait_too_long_is_said() -> None:
    """Above `max_retry_after` the caller is told when to come back, in words too."""
    error = told("", 429, Retry_After="3600")
    assert "3600 s" in str(error)
    assert error.retry_at == RECEIVED + timedelta(hours=1)


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_retry_after_never_fails(value: str, date: str | None) -> None:
    """Whatever the headers hold."""
    found = times.retry_after(value, date, RECEIVED)
    assert found is None or 0 <= found < 10**12


@given(
    st.text("0123456789 :,-+GMTUCMonJanSaturday", max_size=40),
    st.sampled_from(["Mon, 05 Jan ", "Sunday, 06-Nov-94 ", "Sun Nov  6 "]),
)
def test_dates_that_begin_well_never_fail(rest: str, start: str) -> None:
    """The standard library's reader of dates has raised all sorts of things."""
    found = times.retry_after(start + rest, None, RECEIVED)
    assert found is None or found >= 0
