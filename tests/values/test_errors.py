"""The exception tree: as drawn, picklable, and silent about what must not be shown."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import errors
from chainhub_async.errors import Attempt, Billed, ChainHubError, printable
from chainhub_async.models import Task

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ChainHubError)
]
ATTEMPTS = (
    Attempt(number=1, phase="connect", reason="refused"),
    Attempt(number=2, phase="write", reason="cut", bytes_sent=5, bytes_total=9, status=503),
)
FACTS: dict[str, Any] = {
    "billed": Billed.MAYBE,
    "status": 429,
    "code": "c",
    "request_id": "r-1",
    "retry_after": 1.5,
    "retry_at": datetime(2026, 1, 5, tzinfo=timezone.utc),
    "attempts": ATTEMPTS,
    "bytes_sent": 7,
}
OWN: dict[str, Any] = {
    "body": b"\x00body",
    "location": "https://x.example",
    "phase": "reply",
    "task": Task(task_id="t-1", task_status="submitted", created_at=5),
    "url": "https://x.example/a.png",
    "saved": (Path("a.png"),),
}


def full(kind: type[ChainHubError]) -> ChainHubError:
    """One of that class with every attribute set."""
    own = {name: value for name, value in OWN.items() if hasattr(kind, name)}
    return kind("what happened", **FACTS, **own)


def drawn() -> dict[str, str | None]:
    """The classes drawn in the module's docstring, each with the one it hangs from."""
    parents: dict[str, str | None] = {}
    line_of: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if found:
            depth = len(found.group(1)) // 4
            line_of[depth:] = [found.group(2)]
            parents[found.group(2)] = line_of[depth - 1] if depth else None
    return parents


def test_the_tree_is_as_drawn() -> None:
    """Name for name, each under the class it is drawn under."""
    real = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if issubclass(base, ChainHubError)), None
        )
        for kind in CLASSES
    }
    assert drawn() == real


def test_usual_exceptions_catch_them_too() -> None:
    """Whoever catches ValueError, RuntimeError or TimeoutError is not left out."""
    assert issubclass(errors.ConfigurationError, ValueError)
    assert issubclass(errors.InvalidRequestError, ValueError)
    assert issubclass(errors.ClosedError, RuntimeError)
    assert issubclass(errors.DeadlineError, TimeoutError)
    assert issubclass(errors.TaskTimeoutError, TimeoutError)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_what_it_is(kind: type[ChainHubError]) -> None:
    """A docstring of its own, not an inherited one."""
    assert kind.__doc__
    assert "__doc__" in vars(kind)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_class_pickles_with_all_it_holds(kind: type[ChainHubError], protocol: int) -> None:
    """P3: also in a worker's process, and in whatever keeps exceptions."""
    error = full(kind)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert (str(again), repr(again), again.args) == (str(error), repr(error), error.args)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_every_class_copies(kind: type[ChainHubError], copied: Any) -> None:
    """Fields and all, also those set after it was made."""
    error = full(kind)
    error.attempts = ATTEMPTS[:1]
    again = copied(error)
    assert again is not error
    assert vars(again) == vars(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_attributes_have_defaults(kind: type[ChainHubError]) -> None:
    """Every one can be read, whatever was known when it was raised, also after a pickle."""
    for error in (kind("x"), pickle.loads(pickle.dumps(kind("x")))):
        seen = (error.status, error.code, error.request_id, error.retry_after, error.retry_at)
        assert seen == (None,) * 5
        assert (error.attempts, error.bytes_sent) == ((), 0)
        paid = (errors.DownloadError, errors.TaskTimeoutError)
        assert error.billed is (Billed.YES if isinstance(error, paid) else Billed.NO)


def test_an_unknown_attribute_is_a_slip() -> None:
    """A misspelt fact would be lost in silence."""
    with pytest.raises(TypeError, match="ConnectError has no attribute 'phase'"):
        errors.ConnectError("x", phase=b"")


def test_repr_and_str() -> None:
    """The sentence, and with `repr` what it may have cost; bodies are in neither."""
    error = errors.ServerError("it broke", billed=Billed.MAYBE, body=b"secret")
    assert str(error) == "it broke"
    assert repr(error) == "ServerError('it broke', billed=MAYBE)"


def test_a_message_is_always_printable() -> None:
    """P21: whoever raised it, and with whatever words."""
    error = ChainHubError("a\x1b[2J\nb" + "c" * 5000)
    assert str(error).startswith("a\\x1b[2J\\nb")
    assert len(str(error)) == 2001


def test_billed_has_three_answers() -> None:
    """With values fit for a database."""
    assert {answer.name: answer.value for answer in Billed} == {
        "NO": "no",
        "MAYBE": "maybe",
        "YES": "yes",
    }


BAD = [
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u061c", "\u200e", "\u200f",
    "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067",
    "\u2068", "\u2069", *map(chr, range(0x206A, 0x2070)), "\ufeff", "\ud800", "\udfff",
]  # fmt: skip


@pytest.mark.parametrize("sign", BAD, ids=ascii)
def test_every_control_is_escaped(sign: str) -> None:
    """C0, DEL, C1, line ends, the marks of bidirectional text, half surrogate pairs."""
    assert printable(f"a{sign}b") == f"a{ascii(sign)[1:-1]}b"


ESCAPED = {*BAD, *map(chr, range(0xD800, 0xE000))}


@given(st.text(st.characters() | st.sampled_from(BAD)))
def test_printable_keeps_everything_else(text: str) -> None:
    """Only those are changed: what remains reads as it did, and nothing is escaped twice."""
    shown = printable(text, 10**6)
    assert not ESCAPED & set(shown)
    assert printable(shown, 10**6) == shown
    if not ESCAPED & set(text):
        assert shown == text
    shown.encode()


@given(st.text(st.characters() | st.sampled_from(BAD)), st.integers(0, 50))
def test_printable_is_bounded(text: str, limit: int) -> None:
    """At most `limit` characters and the mark of what was left out."""
    shown = printable(text, limit)
    assert len(shown) <= limit + 1
    whole = printable(text, 10**6)
    assert shown == (whole if len(whole) <= limit else whole[:limit] + "…")


@pytest.mark.parametrize("value", [None, 5, b"\x1b", ["\x1b"], ValueError("\x1b[2J")])
def test_printable_takes_anything(value: object) -> None:
    """What is shown is its text."""
    assert "\x1b" not in printable(value)
