"""The gateway's manners: routes, keys, headers, error forms, billing, limits."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chainhub_async.testing import Emulator, RequestRecord

from .wire import JPEG, PATH, PNG, form, get, head, headers, image_part, part, post, raw, send

if TYPE_CHECKING:
    from collections.abc import Callable

PNG_SHA256 = hashlib.sha256(PNG).hexdigest()
JPEG_SHA256 = hashlib.sha256(JPEG).hexdigest()


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic emulator-key",
        "emulator-key",
        "Bearer é",
    ],
)
def test_bad_key(emulator: Emulator, authorization: str | None) -> None:
    """Without a known key: 401, the request id in header and text, and no bill."""
    answer = post(emulator, Authorization=authorization)
    request_id = answer.headers["X-Oneapi-Request-Id"]
    assert answer.status == 401
    assert answer.json == {
        "error": {
            "message": f"Invalid token (request id: {request_id})",
            "type": "new_api_error",
            "code": "",
        }
    }
    assert emulator.billed == {}


def test_two_keys_in_one_request(emulator: Emulator) -> None:
    """Authorization sent twice is refused, even if one of them is right."""
    body = form(image_part())
    fields = headers(emulator, Content_Length=str(len(body)))
    twice = head(fields, "Authorization: Bearer emulator-key")
    assert raw(emulator, twice + body).startswith(b"HTTP/1.1 401 ")


def test_several_keys() -> None:
    """Every key of `api_keys` is accepted; none appears in a repr."""
    with Emulator.in_thread(api_keys=["first", "second"]) as emulator:
        for key in ("first", "second"):
            assert post(emulator, Authorization=f"bearer {key}").status == 200
        assert emulator.api_key == "first"
        assert not re.search(r"first|second", repr(emulator) + repr(emulator.requests))
        emulator.api_keys = ("third",)
        assert post(emulator, Authorization="Bearer third").status == 200


def test_wrong_path_and_method(emulator: Emulator) -> None:
    """Unknown paths are a 404 in the gateway's words, wrong methods a 405."""
    missing = send(emulator, "POST", "/v1" + PATH, b"", headers(emulator))
    assert (missing.status, missing.message) == (404, f"Invalid URL (POST /v1{PATH})")
    wrong = send(emulator, "GET", PATH, None, headers(emulator))
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    assert send(emulator, "POST", "/v1/models", b"", headers(emulator)).status == 405


def test_models(emulator: Emulator) -> None:
    """The list of models is a free question that tells a good key from a bad one."""
    listed = get(emulator, "/v1/models", Authorization="Bearer emulator-key")
    assert [model["id"] for model in listed.json["data"]] == ["ideogram-v3"]
    assert get(emulator, "/v1/models").status == 401


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"Accept": None}, 400, "Accept"),
        ({"Accept": "text/html"}, 400, "Accept"),
        ({"Content_Type": None}, 400, "exactly one Content-Type"),
        ({"Content_Type": "multipart/form-data"}, 400, "no boundary"),
        ({"Content_Encoding": "gzip"}, 400, "must not be encoded"),
    ],
)
def test_bad_header(emulator: Emulator, changes: dict[str, Any], status: int, says: str) -> None:
    """What the header says must be right before the form is looked at."""
    answer = post(emulator, **changes)
    assert (answer.status, says in answer.message) == (status, True)


@pytest.mark.parametrize("accept", ["*/*", "text/html, application/*;q=0.5", "Application/JSON"])
def test_accept_ranges(emulator: Emulator, accept: str) -> None:
    """Accept may say JSON in any of RFC 9110's ways."""
    assert post(emulator, Accept=accept).status == 200


def test_chunked_is_refused(emulator: Emulator) -> None:
    """A body of unannounced length is answered 411."""
    announced = head(headers(emulator), "Transfer-Encoding: chunked")
    answer = raw(emulator, announced + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_large_bodies_are_refused_unread(emulator: Emulator) -> None:
    """A body announced as too long is answered 413 while it is still being sent."""
    emulator.max_body = 1000
    assert post(emulator, image_part(PNG + bytes(1000))).status == 413
    assert emulator.requests[0].body_bytes == 0


def test_expect_continue(emulator: Emulator) -> None:
    """A client that waits for a go-ahead gets one, and then its reply."""
    body = form(image_part())
    fields = headers(emulator, Expect="100-continue", Content_Length=str(len(body)))
    answer = raw(emulator, head(fields) + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_a_cut_upload_is_not_billed(emulator: Emulator) -> None:
    """Until the whole body has arrived nothing is billed, and the record has no status."""
    body = form(image_part())
    fields = headers(emulator, Content_Length=str(len(body)))
    raw(emulator, head(fields) + body[:-1], cut=True)
    assert get(emulator, "/v1/models").status == 401  # by now the server knows that it was cut
    record = emulator.requests[0]
    assert (record.status, record.body_bytes, record.parts) == (None, len(body) - 1, ())
    assert emulator.billed == {}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["", "form", "part"]))
def test_garbage_is_a_400(emulator: Emulator, garbage: bytes, wrapping: str) -> None:
    """No body makes the gateway stumble."""
    whole = {"": garbage, "form": form(garbage), "part": form(part("color_palette", garbage))}
    answer = post(emulator, body=whole[wrapping])
    assert (answer.status, answer.json["error"]["type"]) == (400, "new_api_error")


def test_bills_images_per_upload(emulator: Emulator) -> None:
    """Each valid call bills `num_images` for the bytes it sent, by their SHA-256."""
    post(emulator, image_part(), part("num_images", "4"))
    post(emulator, image_part())
    post(emulator, image_part(JPEG, kind="jpeg"))
    assert emulator.billed == {PNG_SHA256: 5, JPEG_SHA256: 1}
    assert emulator.billed_calls == {PNG_SHA256: 2, JPEG_SHA256: 1}
    assert [record.billed for record in emulator.requests] == [4, 1, 1]


def test_balance(emulator: Emulator) -> None:
    """What the account cannot pay in full is refused, and the balance goes down by what it can."""
    emulator.balance = 5
    four = part("num_images", "4")
    assert post(emulator, image_part(), four).status == 200
    refused = post(emulator, image_part(), four)
    assert (refused.status, refused.json["error"]["code"]) == (403, "insufficient_user_quota")
    assert (emulator.balance, emulator.billed) == (1, {PNG_SHA256: 4})


def mentions_blood(prompt: str) -> bool:
    """A hook of the test's own."""
    return "blood" in prompt


@pytest.mark.parametrize("unsafe", ["blood", mentions_blood])
def test_unsafe_prompts(emulator: Emulator, unsafe: str | Callable[[str], bool]) -> None:
    """A prompt found unsafe is refused with 422 and costs nothing."""
    emulator.unsafe = unsafe
    assert post(emulator, image_part(), part("prompt", "blood")).status == 422
    assert post(emulator, image_part(), part("prompt", "milk")).status == 200
    assert sum(emulator.billed.values()) == 1


def test_in_flight_limit(emulator: Emulator) -> None:
    """Images in progress count against the limit until their reply, and not a moment longer."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_: RequestRecord) -> float:
        entered.set()
        return 0.0 if leave.is_set() else 0.3

    emulator.in_flight, emulator.latency = 4, hold
    answers: list[int] = []
    first = threading.Thread(
        target=lambda: answers.append(post(emulator, image_part(), part("num_images", "4")).status)
    )
    first.start()
    assert entered.wait(5)
    leave.set()
    refused = post(emulator)
    first.join()
    assert refused.json == {
        "error": "at most 4 images may be in progress",
        "reject_reason": "inflight_limit",
        "max_inflight_requests": 4,
    }
    assert (refused.status, post(emulator).status, answers) == (429, 200, [200])
    assert emulator.billed == {PNG_SHA256: 5}


def test_a_failing_hook_is_a_500_and_leaves_no_trace(emulator: Emulator) -> None:
    """An error in the test's own callable is seen, and its images are no longer in progress."""

    def explode(record: RequestRecord) -> float:
        raise ValueError(record.path)

    emulator.in_flight, emulator.latency = 1, explode
    assert post(emulator).status == 500
    emulator.latency = 0
    assert post(emulator).status == 200


def test_records_show_the_header_as_sent(emulator: Emulator) -> None:
    """Names and values are kept as they came; looking them up knows no case."""
    post(emulator)
    (record,) = emulator.requests
    assert (b"Authorization", b"Bearer emulator-key") in record.headers
    assert record.values("AUTHORIZATION") == ["Bearer emulator-key"]
    assert record.image_sha256 == PNG_SHA256
    assert record.request_id.startswith("20260105101112")
    assert "emulator-key" not in repr(record)


def test_reset(emulator: Emulator) -> None:
    """After `reset` nothing is remembered, and the options are as before."""
    emulator.balance = 3
    url = post(emulator).json["data"][0]["url"]
    emulator.reset()
    assert (emulator.requests, emulator.billed, emulator.billed_calls) == ((), {}, {})
    assert (emulator.connections, emulator.balance) == (0, 2)
    assert get(emulator, url).status == 404
    assert emulator.requests[0].image_sha256 is None
    assert emulator.connections == 1
