"""Recorded replies with status 200 → results, or what each failure is called."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from chainhub_async import errors
from chainhub_async.models import GeneratedImage, Task
from chainhub_async.transport import decode
from replies.recorded import FAILED, FOLDER, GOOD, RECEIVED, recorded, response

IMAGE = {"url": "https://results.example/a.png", "seed": 1, "is_image_safe": True}
MINUTE = timedelta(minutes=1)


def test_every_recorded_reply_is_in_the_index() -> None:
    """No file lies there unread."""
    listed = {entry["file"] for entry in (*GOOD, *FAILED)}
    index = json.loads((FOLDER / "index.json").read_text("utf-8"))
    listed |= {entry["file"] for entry in index["bodies of errors"]}
    assert listed | {"index.json"} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("entry", GOOD, ids=lambda entry: entry["file"])
def test_good_replies_are_read(entry: dict[str, Any]) -> None:
    """Both shapes, their wrapped variants, and what this version does not know."""
    answer = recorded(entry["file"])
    result = decode.result(answer)
    assert [image.url for image in result.images] == entry.get("urls", [])
    assert (result.task and result.task.task_status) == entry.get("task")
    assert (result.task and result.task.task_id) == entry.get("task_id")
    assert result.request_id == entry.get("request_id")
    assert result.code == entry.get("code", result.code)
    assert result.raw == json.loads(answer.body)
    assert result.received_at == RECEIVED
    if entry.get("created"):
        assert result.created == datetime.fromisoformat(entry["created"])
    elif "created" in entry:
        assert result.created is None
    assert pickle.loads(pickle.dumps(result)) == result


@pytest.mark.parametrize("entry", FAILED, ids=lambda entry: entry["file"])
def test_failures_with_status_200_are_told(entry: dict[str, Any]) -> None:
    """Error envelopes, failed tasks, and answers that hold nothing; each says what was paid."""
    answer = recorded(entry["file"])
    with pytest.raises(errors.ChainHubError) as caught:
        decode.result(answer)
    error = caught.value
    assert type(error).__name__ == entry["error"]
    assert error.billed.name == entry["billed"]
    assert (error.status, error.bytes_sent) == (200, 1000)
    assert error.request_id == entry.get("request_id")
    assert error.code == entry.get("code", error.code)
    assert entry.get("says", "") in str(error)
    if isinstance(error, errors.TaskFailedError):
        assert error.task is not None
        assert error.task.task_id == entry["task_id"]
    else:
        assert getattr(error, "body", None) == answer.body


def test_every_field_of_an_image_is_read() -> None:
    """UPSTREAM's keys, under the same names."""
    image = decode.result(recorded("images.json")).images[0]
    assert image == GeneratedImage(
        url="https://results.example/a.png?exp=1767694272&sig=00",
        prompt="a pine forest at dawn",
        resolution="1280x800",
        is_image_safe=True,
        seed=12345,
        style_type="GENERAL",
        expires_at=datetime.fromtimestamp(1767694272, timezone.utc),
    )


def test_every_field_of_a_task_is_read() -> None:
    """SPEC's keys: the integers as sent, and as points in time."""
    task = decode.result(recorded("task-submitted.json")).task
    sent = 1767607872000
    assert task is not None
    assert task == Task(task_id="t-1", task_status="submitted", created_at=sent, updated_at=sent)
    assert task.created == task.updated == datetime(2026, 1, 5, 10, 11, 12, tzinfo=timezone.utc)


def test_values_of_the_wrong_type_are_passed_over() -> None:
    """An image without its seed is still an image; what plainly means a value is taken for it."""
    image = decode.result(recorded("images-wrong-types.json")).images[0]
    assert (image.seed, image.prompt, image.is_image_safe, image.style_type) == (None,) * 4
    assert image.resolution == "1280"
    number = decode.result(response({"data": [{**IMAGE, "seed": 5.0}]})).images[0].seed
    assert (number, type(number)) == (5, int)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-01-05T10:11:12Z", "2026-01-05T10:11:12+00:00"),
        ("2026-01-05T10:11:12z", "2026-01-05T10:11:12+00:00"),
        ("2026-01-05t10:11:12Z", "2026-01-05T10:11:12+00:00"),
        ("2026-01-05 10:11:12Z", "2026-01-05T10:11:12+00:00"),
        ("2026-01-05T10:11:12", "2026-01-05T10:11:12+00:00"),
        ("2026-01-05T10:11:12.123456Z", "2026-01-05T10:11:12.123456+00:00"),
        ("2026-01-05T10:11:12.123456789Z", "2026-01-05T10:11:12.123456+00:00"),
        ("2026-01-05T10:11:12.1Z", "2026-01-05T10:11:12.100000+00:00"),
        ("2026-01-05T10:11:12,5Z", "2026-01-05T10:11:12.500000+00:00"),
        ("2026-01-05T10:11:12+08:00", "2026-01-05T02:11:12+00:00"),
        ("2026-01-05 10:11:12.123456789+08:00", "2026-01-05T02:11:12.123456+00:00"),
        ("2026-01-05T10:11:12-0530", "2026-01-05T15:41:12+00:00"),
        ("2026-01-05 10:11:12 +08:00", "2026-01-05T02:11:12+00:00"),
        (1767607872, "2026-01-05T10:11:12+00:00"),
        (1767607872.25, "2026-01-05T10:11:12.250000+00:00"),
        (1767607872000, "2026-01-05T10:11:12+00:00"),
        ("1767607872", "2026-01-05T10:11:12+00:00"),
        ("1767607872000", "2026-01-05T10:11:12+00:00"),
        (0, "1970-01-01T00:00:00+00:00"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_created_is_read_in_every_form(sent: object, expected: str, wrapped: bool) -> None:
    """CONTRACT: ISO 8601 with Z, an offset or none, 0 to 9 digits, a space for T, or an epoch."""
    body: dict[str, Any] = {"created": sent, "data": [IMAGE]}
    created = decode.result(response({"code": 0, "data": body} if wrapped else body)).created
    assert created is not None
    assert created.utcoffset() is not None
    assert created.astimezone(timezone.utc).isoformat() == expected


@pytest.mark.parametrize(
    "sent",
    [
        None, True, "", "soon", "2026-13-05T10:11:12Z", "2026-01-05", "2026-01-05T25:11:12Z",
        "2026-01-05T10:11:12+24:00", "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00",
        "\uff12026-01-05T10:11:12Z", -(10**30), 10**30, float("inf"), float("nan"), [], {},
        "9" * 16, "2026-01-05T10:11:12Zjunk",
    ],
)  # fmt: skip
def test_what_is_no_date_is_absent(sent: object) -> None:
    """An unreadable date never costs a result that is paid for."""
    result = decode.result(response({"created": sent, "data": [IMAGE]}))
    assert result.created is None
    assert result.images[0].url == IMAGE["url"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("exp=1767694272&sig=00", "2026-01-06T10:11:12+00:00"),
        ("sig=0&Exp=1767694272000", "2026-01-06T10:11:12+00:00"),
        ("Expires=1767694272&Signature=x%3D", "2026-01-06T10:11:12+00:00"),
        ("se=2026-01-06T10%3A11%3A12Z&sp=r", "2026-01-06T10:11:12+00:00"),
        ("X-Amz-Date=20260105T101112Z&X-Amz-Expires=3600", "2026-01-05T11:11:12+00:00"),
        ("X-Goog-Date=20260105T101112Z&X-Goog-Expires=3600", "2026-01-05T11:11:12+00:00"),
        ("", None),
        ("exp=", None),
        ("exp=never", None),
        ("exp=3600", None),
        ("exp=-1", None),
        ("exp=99999999999999999999", None),
        ("X-Amz-Date=20260105T101112Z", None),
        ("X-Amz-Date=20269905T101112Z&X-Amz-Expires=3600", None),
        ("X-Amz-Date=99991231T235959Z&X-Amz-Expires=9999999", None),
        ("X-Amz-Date=20260105T101112Z&X-Amz-Expires=soon", None),
    ],
)
def test_when_a_url_expires(query: str, expected: str | None) -> None:
    """As the address itself says, else 24 hours after the reply; a duration is no date."""
    result = decode.result(response({"data": [{**IMAGE, "url": f"https://x.example/a?{query}"}]}))
    when = datetime.fromisoformat(expected) if expected else RECEIVED + timedelta(hours=24)
    assert result.images[0].expires_at == when


@pytest.mark.parametrize(
    "url", ["http://[broken", "http://x:bad/?exp=1", "\ud800", "?", "x" * 9999]
)
def test_an_odd_url_is_kept(url: str) -> None:
    """Whether it can be fetched is not the reader's business."""
    image = decode.result(response({"data": [{"url": url}]})).images[0]
    assert image.url == url
    assert image.expires_at == RECEIVED + timedelta(hours=24)


@pytest.mark.parametrize(
    ("status", "finished"),
    [("succeed", True), ("SUCCEEDED", True), ("completed", True), ("submitted", False),
     ("processing", False), ("", False), ("new-state", False)],
)  # fmt: skip
def test_when_a_task_is_finished(status: str, finished: bool) -> None:
    """A state nobody knows is one that goes on."""
    result = decode.result(response({"data": {"task_id": "t", "task_status": status}}))
    assert decode.is_finished(result.task) is finished
    assert decode.is_finished(None)


@pytest.mark.parametrize("status", ["failed", "FAILED", "error", "cancelled", "expired"])
def test_a_failed_task_is_a_failure(status: str) -> None:
    """With the task on it, and without a word of its own when none was sent."""
    with pytest.raises(errors.TaskFailedError, match=f"Task t ended as '{status}'\\.$") as caught:
        decode.result(response({"data": {"task_id": "t", "task_status": status}}))
    assert caught.value.task == Task(task_id="t", task_status=status)


@pytest.mark.parametrize("task_id", [None, "", True, [], 1.5, {}])
def test_without_an_id_there_is_no_task(task_id: object) -> None:
    """What cannot be asked for again is not a task."""
    with pytest.raises(errors.InvalidReplyError):
        decode.result(response({"data": {"task_id": task_id, "task_status": "submitted"}}))


@pytest.mark.parametrize("code", [None, 0, "0", "", 0.0, False])
def test_codes_that_mean_success(code: object) -> None:
    """Task envelope: 0 is success; no code at all is none."""
    result = decode.result(response({"code": code, "data": [IMAGE]}))
    assert len(result.images) == 1
    assert not isinstance(result.code, bool | float)


@pytest.mark.parametrize("code", [1, -1, 200, "1", "error", True, [], {}, float("nan")])
def test_codes_that_mean_failure(code: object) -> None:
    """Anything else is failure, whatever the status."""
    with pytest.raises(errors.EnvelopeError) as caught:
        decode.result(response({"code": code, "message": "no", "data": None}))
    assert caught.value.billed is errors.Billed.MAYBE


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X_Oneapi_Request_Id": "one", "X_Request_Id": "two"}, "one"),
        ({"X_Request_Id": "two", "x_oneapi_request_id": "one"}, "one"),
        ({"X_Request_Id": "two"}, "two"),
        ({"X_Oneapi_Request_Id": "", "X_Request_Id": "two"}, "two"),
        ({}, "body"),
    ],
)
@pytest.mark.parametrize("kind", ["result", "envelope", "unusable", "task", "status"])
def test_which_request_id_is_taken(headers: dict[str, str], expected: str, kind: str) -> None:
    """The first of the headers `X-Oneapi-Request-Id` and `x-request-id`, the body, its text."""
    bodies: dict[str, Any] = {
        "result": {"request_id": "body", "data": [IMAGE]},
        "envelope": {"request_id": "body", "code": 5, "message": "x (request id: text)"},
        "unusable": {"request_id": "body", "data": []},
        "task": {"request_id": "body", "data": {"task_id": "t", "task_status": "failed"}},
        "status": {"request_id": "body", "error": {"message": "x (request id: text)"}},
    }
    answer = response(bodies[kind], **headers)
    if kind == "result":
        assert decode.result(answer).request_id == expected
        return
    if kind == "status":
        error: errors.ChainHubError = decode.api_error(
            answer, errors.Billed.NO, max_retry_after=120
        )
    else:
        with pytest.raises(errors.ChainHubError) as caught:
            decode.result(answer)
        error = caught.value
    assert error.request_id == expected


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no (request id: text-1)"}},
        {"error": {"message": "no", "request_id": "text-1"}},
        {"message": f"{'long ' * 100} (Request ID: text-1)"},
        {"error": "no (request id:text-1)"},
        "no (request id: text-1)",
    ],
)
def test_the_text_names_the_request_last(body: Any) -> None:
    """`(request id: …)` at the end of a message of any length, in JSON or not."""
    error = decode.api_error(response(body, 500), errors.Billed.NO, max_retry_after=120)
    assert error.request_id == "text-1"
