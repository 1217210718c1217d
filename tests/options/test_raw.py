"""`hub.request`: what it takes, what it refuses, and what leaves."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import anyio
import attrs
import pytest

from chainhub_async import (
    AsyncChainHub,
    Billed,
    ChainHubError,
    ConfigurationError,
    ImageSource,
    InvalidOptionError,
)
from chainhub_async.config import Timeout
from chainhub_async.resources.raw import raw_request
from chainhub_async.testing import Emulator
from chainhub_async.transport.messages import Request

from .image import KEY, PNG

DEFAULTS: dict[str, Any] = {
    "json": None,
    "form": None,
    "params": None,
    "headers": None,
    "images": 0,
    "timeout": Timeout(),
}


def _request(method: str = "POST", path: str = "/x", **options: Any) -> Request:
    return raw_request(method, path, **{**DEFAULTS, **options})


class _Ambiguous:
    """Like an array: neither equal nor unequal to anything."""

    def __eq__(self, other: object) -> Any:
        return _Ambiguous()

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = object.__hash__


def _deep() -> Any:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


BAD: list[tuple[dict[str, Any], str]] = [
    ({"method": ""}, "method is ''"),
    ({"method": "GET /"}, "method is 'GET /'"),
    ({"method": "G\r\nET"}, r"method is 'G\r\nET'"),
    ({"method": "ÄÖ"}, "method is"),
    ({"method": None}, "method is None"),
    ({"method": b"POST"}, "method is b'POST'"),
    ({"method": "CONNECT"}, "other than CONNECT"),
    ({"path": "x"}, "it must begin with /"),
    ({"path": ""}, "it must begin with /"),
    ({"path": "https://other.example/x"}, "it must begin with /"),
    ({"path": "/a\r\nb"}, r"'/a\r\nb'"),
    ({"path": "/\ud800"}, "it must begin with /"),
    ({"path": None}, "it must begin with /"),
    ({"json": 1, "form": {"a": "b"}}, "Pass json= or form=, not both"),
    ({"json": 1, "form": {}}, "Pass json= or form=, not both"),
    ({"method": "GET", "json": 1}, "GET, HEAD and OPTIONS take neither"),
    ({"method": "get", "form": {"a": "b"}}, "GET, HEAD and OPTIONS take neither"),
    ({"method": "HEAD", "json": []}, "GET, HEAD and OPTIONS take neither"),
    ({"json": {1, 2}}, "json cannot be serialized"),
    ({"json": float("nan")}, "json cannot be serialized"),
    ({"json": b"x"}, "json cannot be serialized"),
    ({"json": _deep()}, "json cannot be serialized"),
    ({"json": _Ambiguous()}, "json cannot be serialized"),
    ({"form": [("a", "b")]}, "form is a list; a dict is expected"),
    ({"form": "a=b"}, "form is a str; a dict is expected"),
    ({"form": {"a b": "c"}}, "form has the name 'a b'"),
    ({"form": {"a": PNG}}, "form['a'] is a bytes"),
    ({"form": {"a": "\ud800"}}, "form['a'] contains a lone surrogate"),
    ({"params": "a=b"}, "params is a str; a dict is expected"),
    ({"params": [("a", "b")]}, "params is a list; a dict is expected"),
    ({"params": {"a": None}}, "params contains 'a': None"),
    ({"params": {"a": True}}, "params contains 'a': True"),
    ({"params": {"a": ["b"]}}, "params contains 'a': ['b']"),
    ({"params": {3: "a"}}, "params contains 3"),
    ({"params": {"a": "\ud800"}}, "a lone surrogate"),
    ({"headers": "a: b"}, "headers is a str; a dict is expected"),
    ({"headers": [("a", "b")]}, "headers is a list; a dict is expected"),
    ({"headers": {"": "x"}}, "not a valid header name"),
    ({"headers": {"a b": "x"}}, "not a valid header name"),
    ({"headers": {"a:": "x"}}, "not a valid header name"),
    ({"headers": {"a\r\nb": "x"}}, "not a valid header name"),
    ({"headers": {"authorization ": "x"}}, "not a valid header name"),
    ({"headers": {"é": "x"}}, "not a valid header name"),
    ({"headers": {3: "x"}}, "not a valid header name"),
    ({"headers": {"A": "x\r\nB: y"}}, "not printable ASCII"),
    ({"headers": {"A": "\0"}}, "not printable ASCII"),
    ({"headers": {"A": "é"}}, "not printable ASCII"),
    ({"headers": {"A": 3}}, "not printable ASCII"),
    *(
        ({"headers": {name: "x"}}, "is set by the client; leave it out")
        for name in (
            "Authorization",
            "AUTHORIZATION",
            "content-length",
            "Content-Type",
            "Content-Encoding",
            "Transfer-Encoding",
            "Host",
            "Cookie",
            "Expect",
            "Connection",
            "Upgrade",
            "Proxy-Authorization",
        )
    ),
    *(({"images": value}, f"images is {value!r}") for value in (-1, 1.0, "1", True, None)),
    ({"images": 11}, "Limits(in_flight=10)"),
]


@pytest.mark.anyio
@pytest.mark.parametrize("row", BAD, ids=lambda row: f"{next(iter(row[0]))}-{row[1]}"[:50])
async def test_what_cannot_be_sent_is_refused_before_any_connection(
    row: tuple[dict[str, Any], str], hub: AsyncChainHub, emulator: Emulator
) -> None:
    """One InvalidOptionError that names the argument and its value; nothing is sent."""
    options, told = row
    with anyio.fail_after(20), pytest.raises(ChainHubError) as refused:
        await hub.request(
            options.get("method", "POST"),
            options.get("path", "/x"),
            **{name: value for name, value in options.items() if name not in {"method", "path"}},
        )
    error = refused.value
    assert type(error) is InvalidOptionError
    assert told in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400
    assert (error.billed, error.attempts) == (Billed.NO, ())
    assert emulator.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("timeout", [5, 0, "5", (1, 2)])
async def test_a_timeout_is_a_timeout(timeout: Any, hub: AsyncChainHub, emulator: Emulator) -> None:
    """A number is no Timeout: which of the deadlines would it be?"""
    with pytest.raises(ConfigurationError, match=r"Timeout\(total=60\)"):
        await hub.request("POST", "/x", timeout=timeout)
    assert emulator.connections == 0


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{}, {"json": {"a": [1, "é"]}}, {"form": {"a": "b"}}])
async def test_a_body_is_sent_as_it_was_asked_for(
    options: dict[str, Any], hub: AsyncChainHub, emulator: Emulator
) -> None:
    """JSON as JSON, a form as multipart, and neither as an empty body of known length."""
    with pytest.raises(ChainHubError):
        await hub.request("post", "/anything", **options)
    (request,) = emulator.requests
    assert request.method == "POST"
    assert request.values("authorization") == [f"Bearer {KEY}"]
    (length,), (kind,) = request.values("content-length"), request.values("content-type")
    assert (int(length) > 0) is bool(options)
    if "json" in options:
        assert kind == "application/json"
    elif "form" in options:
        assert kind.startswith("multipart/form-data; boundary=")
    else:
        assert kind == "application/octet-stream"


@pytest.mark.anyio
async def test_the_paid_call_can_be_made_by_hand(hub: AsyncChainHub, emulator: Emulator) -> None:
    """The escape hatch sends what the named endpoint sends."""
    params: Any = MappingProxyType({"a": "b c&d", "é": "ü", "n": 3})
    answer = await hub.request(
        "POST",
        "/ideogram/v1/ideogram-v3/replace-background",
        form=MappingProxyType(
            {"image": ImageSource.from_bytes(PNG), "prompt": "x", "num_images": 2}
        ),
        headers={"X-Trace": "abc", "accept": "application/json; q=1"},
        params=params,
        images=2,
    )
    assert len(answer.json()["data"]) == 2
    (request,) = emulator.requests
    assert request.billed == 2
    assert request.values("x-trace") == ["abc"]
    assert request.values("accept") == ["application/json; q=1"]
    assert {part.name for part in request.parts} == {"image", "prompt", "num_images"}


@pytest.mark.parametrize("method", ["GET", "get", "HEAD", "OPTIONS"])
def test_what_changes_nothing_may_be_repeated(method: str) -> None:
    """Safe methods have no body and are free to send again."""
    request = _request(method)
    assert (request.safe, request.content, request.parts) == (True, None, ())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "ANYTHING"])
@pytest.mark.parametrize("form", [None, {}, {"a": None}])
def test_whatever_else_is_taken_to_cost_money(method: str, form: Any) -> None:
    """Every other method has a body of its own, if an empty one, so that it is counted."""
    request = _request(method, form=form)
    assert (request.safe, request.content, request.parts) == (False, b"", ())


def test_arguments_are_copied() -> None:
    """A caller's dict that changes later does not change the request."""
    params, headers = {"a": "b"}, {"A": "b"}
    request = _request(params=params, headers=headers)
    params.clear()
    headers.clear()
    assert (request.params, request.headers) == ({"a": "b"}, {"A": "b"})
    assert "'b'" not in repr(attrs.evolve(request, params={}))


def test_json_that_is_false_is_json() -> None:
    """Only None means that there is no JSON."""
    values: tuple[Any, ...] = (0, False, "", [], {})
    for value in values:
        assert json.loads(_request(json=value).content or b"?") == value
