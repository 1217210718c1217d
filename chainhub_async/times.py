"""Parses every form of timestamp that a server sends. Pure, and never raises."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

RESULT_LIFETIME = timedelta(hours=24)
"""API description: "The returned image URL is valid for 24 hours"."""

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*(?:[Zz]|([+-]\d\d):?(\d\d))?",
    re.ASCII,
)


def moment(value: Any) -> datetime | None:
    """Parses ISO 8601 text or Unix time (seconds or milliseconds) as an aware datetime."""
    if isinstance(value, str):
        if re.fullmatch(r"\d{1,15}", value, re.ASCII):
            return _from_unix(int(value))
        return _from_iso(value.strip())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_unix(value)
    return None


def _from_unix(value: float) -> datetime | None:
    try:
        # 10^11 seconds is the year 5138, 10^11 milliseconds is 1973.
        seconds = value / 1000 if abs(value) >= 10**11 else value
        return datetime.fromtimestamp(seconds, tz=timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None


def _from_iso(text: str) -> datetime | None:
    # datetime.fromisoformat of Python 3.10 knows neither Z nor nine digits of a second.
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, hours, minutes = found.groups()
    offset = "+00:00" if hours is None else f"{hours}:{minutes}"
    try:
        aware = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{offset}")
        # Within hours of the calendar's ends no other zone could express it.
        aware.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return aware


def retry_after(value: str | None, date: str | None, now: datetime) -> float | None:
    """Parses `Retry-After` (RFC 9110 §10.2.3) as seconds; invalid values are ignored.

    Args:
        value: the header's value.
        date: the response's own `Date`, the reference for a date, since clocks differ.
        now: the reference otherwise.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"\d{1,10}", value, re.ASCII):
        return float(value)
    then = _http_date(value)
    if then is None:
        return None
    return max(0.0, (then - (_http_date(date or "") or now)).total_seconds())


def _http_date(text: str) -> datetime | None:
    # RFC 9110 §5.6.7; the e-mail parser alone would take far looser forms.
    if len(text) > 40 or not re.match(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun)", text):
        return None
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.replace(tzinfo=timezone.utc) if parsed.tzinfo is None else parsed
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def url_expiry(url: str, received: datetime) -> datetime:
    """Returns when a result's URL expires: as it states itself, else 24 hours from `received`."""
    fallback = received + RESULT_LIFETIME
    if "?" not in url:
        return fallback
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    except ValueError:
        return fallback
    # `exp` is the gateway's form; the others are those of common object stores.
    for name in ("exp", "expires", "se"):
        told = moment(query.get(name))
        # A date before this is a number that means something else, such as a duration.
        if told is not None and told.year > 2001:
            return told
    for maker in ("x-amz-", "x-goog-"):
        told = _signed_until(query.get(maker + "date", ""), query.get(maker + "expires", ""))
        if told is not None:
            return told
    return fallback


def _signed_until(start: str, lasts: str) -> datetime | None:
    if not re.fullmatch(r"\d{8}T\d{6}Z", start, re.ASCII):
        return None
    if not re.fullmatch(r"\d{1,7}", lasts, re.ASCII):
        return None
    try:
        signed = datetime.strptime(start, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return signed + timedelta(seconds=int(lasts))
    except (ValueError, OverflowError):
        return None


def later(start: datetime, seconds: float) -> datetime | None:
    """Returns `start` plus `seconds`, or None if that is not a valid date."""
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return None
