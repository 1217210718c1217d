"""Whatever a server sends, nothing but this package's exceptions is raised. Properties."""

from __future__ import annotations

import json
import pickle
from datetime import timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chainhub_async import errors
from chainhub_async.errors import Billed, ChainHubError
from chainhub_async.models import ReplaceBackgroundResult
from chainhub_async.transport import decode, evidence
from chainhub_async.transport.errorbody import ErrorBody
from chainhub_async.transport.messages import Response
from replies.recorded import FAILED, GOOD, RECEIVED, recorded, tame

SEEDS = [recorded(entry["file"]).body for entry in (*GOOD, *FAILED)]
SHAPES = [
    json.loads(recorded(entry["file"]).body)
    for entry in (*GOOD, *FAILED)
    if entry["file"].endswith(".json")
]
WORDS = [
    "code", "message", "request_id", "data", "created", "error", "type", "detail", "msg", "title",
    "error_msg", "reject_reason", "url", "prompt", "resolution", "is_image_safe", "seed",
    "style_type", "upscaled_resolution", "expires_at", "task_id", "task_status", "created_at",
    "updated_at", "task_status_msg", "status_message", "task_result", "images", "index", "status",
]  # fmt: skip
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, float("nan"), float("inf"), float("-inf"), 10**400,
    -(10**400), 2**63, "", " ", "0", "\x00\x1b[31m\u202e", "\ud800", "http://[", "x" * 5000, [],
    {}, [[]], [{}], {"data": []}, {"": None}, "2026-01-05T10:11:12Z", "failed", 1101, "1101",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", -62135596800, 253402300799,
]  # fmt: skip

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.sampled_from(ODD) | st.recursive(
    scalars | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
header_names = st.sampled_from(
    ["Retry-After", "Date", "Location", "Content-Type", "X-Request-Id", "X-Oneapi-Request-Id"]
)
headers = st.lists(st.tuples(header_names, st.text(max_size=40)), max_size=4).map(tuple)


def places(value: Any) -> list[list[Any]]:
    """The ways to every position in a JSON value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    if isinstance(value, list):
        inner = list(enumerate(value))
    return [[], *([key, *rest] for key, child in inner for rest in places(child))]


def replaced(value: Any, way: list[Any], new: Any) -> Any:
    """A copy with another value at that place."""
    if not way:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[way[0]] = replaced(value[way[0]], way[1:], new)
    return copy


def check(body: bytes, status: int = 200, head: tuple[tuple[str, str], ...] = ()) -> None:
    """What holds for every answer."""
    answer = Response(status=status, headers=head, body=body, received_at=RECEIVED)
    told = ErrorBody.of_bytes(body)
    assert tame(told.sentence)
    assert len(told.sentence) < 400
    if 200 <= status < 300:
        outcome = _read(answer)
    else:
        billed = evidence.judge_status(status, ALL_SENT).billed
        outcome = decode.api_error(answer, billed, max_retry_after=120)
        assert outcome.billed is billed
        assert (outcome.code, outcome.body) == (told.code, body)
    again = pickle.loads(pickle.dumps(outcome))
    assert repr(again) == repr(outcome)
    if isinstance(outcome, ChainHubError):
        assert outcome.status == status
        assert tame(str(outcome))
        assert len(str(outcome)) < 2500
        assert tame(outcome.request_id or "")


ALL_SENT = evidence.Evidence(phase="read", bytes_sent=9, bytes_total=9, complete=True, safe=False)


def _read(answer: Response) -> ReplaceBackgroundResult | ChainHubError:
    try:
        result = decode.result(answer)
    except (errors.InvalidReplyError, errors.APIError, errors.TaskFailedError) as error:
        return _checked(error)
    assert result.images or result.task
    for image in result.images:
        assert bool(image.url) or image.url is None
        for when in (image.expires_at, result.created):
            assert when is None or when.astimezone(timezone.utc) == when
    return result


def _checked(error: ChainHubError) -> ChainHubError:
    unread = isinstance(error, errors.InvalidReplyError)
    assert error.billed in ({Billed.YES} if unread else {Billed.NO, Billed.MAYBE})
    return error


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(100, 999), headers)
@example(b"\xff\xfe{\x00}\x00", 200, ())
@example(b"\xef\xbb\xbf{}", 200, ())
@example(b"\x00", 500, ())
@example(b"<" * 4097, 502, ())
@example(b"<title" * 700, 502, ())
@example(b"\xed\xa0\x80", 404, ())
def test_any_bytes_under_any_status(
    body: bytes, status: int, head: tuple[tuple[str, str], ...]
) -> None:
    """Bytes that are nothing in particular."""
    check(body, status, head)


@settings(deadline=None)
@given(values, st.sampled_from([200, 201, 303, 400, 429, 500]), headers)
def test_any_json(value: Any, status: int, head: tuple[tuple[str, str], ...]) -> None:
    """JSON built of the words this package looks for, and of values that break parsers."""
    check(json.dumps(value).encode(), status, head)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SHAPES), st.data(), values, st.sampled_from([200, 429, 500]))
def test_known_shapes_with_anything_in_any_place(
    shape: Any, data: st.DataObject, value: Any, status: int
) -> None:
    """One position of a recorded reply holds something else."""
    way = data.draw(st.sampled_from(places(shape)))
    check(json.dumps(replaced(shape, way, value)).encode(), status)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
def test_every_place_with_every_odd_value(shape: int) -> None:
    """The same without chance: every position, every value that has broken parsers."""
    for way in places(SHAPES[shape]):
        for value in ODD:
            check(json.dumps(replaced(SHAPES[shape], way, value)).encode())


@settings(deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_replies_that_are_cut_or_damaged(body: bytes, data: st.DataObject) -> None:
    """Cut anywhere, and a byte changed anywhere."""
    cut = data.draw(st.integers(0, len(body)))
    check(body[:cut])
    if body:
        at, byte = data.draw(st.integers(0, len(body) - 1)), data.draw(st.binary(max_size=2))
        check(body[:at] + byte + body[at + 1 :])


@pytest.mark.parametrize("depth", [50, 300, 900, 940, 960, 980, 1000, 3000, 100_000, 300_000])
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("[", "]"),
        ('{"data":', "}"),
        ('{"detail":[', "]}"),
        ('{"error":', "}"),
        ('{"code":', "}"),
        ('{"data":[{"url":"https://x/","a":', "}]}"),
        ('{"data":', ""),
    ],
)
def test_nesting_of_any_depth(start: str, end: str, depth: int, status: int) -> None:
    """What is nested too deeply to be read is not read, and does not end the program."""
    answer = Response(
        status=status,
        body=(start * depth + "1" + end * depth).encode()[: 1024 * 1024],
        received_at=RECEIVED,
    )
    if status == 500:
        error = decode.api_error(answer, Billed.MAYBE, max_retry_after=1)
        assert str(error).startswith("The gateway responded with 500")
    else:
        assert _read(answer) is not None


@pytest.mark.parametrize("lead", range(0, 60, 3))
def test_nesting_just_readable(lead: int) -> None:
    """A body that could be read may not be writable again, nearer to the stack's end."""

    def at_depth(left: int) -> None:
        if left:
            at_depth(left - 1)
            return
        for depth in (400, 600, 800, 850, 900, 920, 930, 940, 950):
            body = ('{"code": 1, "detail":' + "[" * depth + "]" * depth + "}").encode()
            _read(Response(status=200, body=body, received_at=RECEIVED))

    at_depth(lead)


@pytest.mark.parametrize("digits", [4299, 4300, 4301, 10_000, 1_000_000])
@pytest.mark.parametrize(
    "place", ['{"code": %s}', '{"data": [{"seed": %s}]}', "%s", '{"created": %s, "data": [{}]}']
)
def test_numbers_of_any_length(digits: int, place: str) -> None:
    """Python refuses to read, or to show, integers beyond some thousand digits."""
    check((place % ("9" * digits)).encode()[: 1024 * 1024])
    check((place % ("9" * digits)).encode()[: 1024 * 1024], 500)
