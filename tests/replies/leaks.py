"""Looks for the key in everything a caller, a log or an error report may keep."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

# With signs that JSON, URLs and regular expressions escape.
KEY = "sk-s3cr3t/Key+42=(x)~"


def escaped_forms(key: str) -> dict[str, str]:
    """The key as a server may write it."""
    percent = "".join(f"%{ord(sign):02X}" for sign in key)
    unicode = "".join(f"\\u{ord(sign):04x}" for sign in key)
    return {
        "plain": key,
        "json": json.dumps(key)[1:-1],
        "slashed": key.replace("/", "\\/"),
        "unicode": unicode,
        "unicode in capitals": "".join(f"\\u{ord(sign):04X}" for sign in key),
        "url": quote(key, safe=""),
        "form": quote_plus(key),
        "percent": percent,
        "percent in small letters": percent.lower(),
    }


_FORMS = set(escaped_forms(KEY).values())


def assert_hidden(*texts: object) -> None:
    """Fails if any text, repr or pickle of these shows the key in any form."""
    for thing in texts:
        for text in _shown(thing):
            found = [form for form in _FORMS if form.lower() in text.lower()]
            if found:  # an assert here would not be run by python -O
                raise AssertionError(f"{found[0]!r} stands in {text[:3000]}")


def _shown(thing: object) -> Iterator[str]:
    if isinstance(thing, BaseException):
        yield from _shown_by_exception(thing)
        return
    yield str(thing)
    yield repr(thing)
    yield from _pickles(thing)


def _pickles(thing: object) -> Iterator[str]:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            yield pickle.dumps(thing, protocol).decode("latin-1")
        except (TypeError, AttributeError, pickle.PicklingError):
            # What holds a key refuses to be pickled.
            return


def _shown_by_exception(error: BaseException) -> Iterator[str]:
    report = traceback.TracebackException(
        type(error), error, error.__traceback__, capture_locals=True
    )
    yield "".join(report.format())
    link: BaseException | None = error
    while link is not None:
        yield from (str(link), repr(link), repr(link.args), repr(vars(link)))
        if isinstance(link, Exception):
            yield from _pickles(link)
        cause = link.__cause__ or link.__context__
        # Also what `raise ... from None` only hides from view.
        if cause is not None:
            hidden = traceback.TracebackException(
                type(cause), cause, cause.__traceback__, capture_locals=True
            )
            yield "".join(hidden.format())
        link = cause


def logged(records: list[logging.LogRecord]) -> list[Any]:
    """Everything in log records, with the locals of the exceptions among it."""
    things: list[Any] = [record.getMessage() for record in records]
    things += [repr(vars(record)) for record in records]
    things += [record.exc_info[1] for record in records if record.exc_info]
    return things
