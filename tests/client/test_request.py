"""`hub.request`: any other call of the gateway, with the same care."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chainhub_async import (
    AsyncChainHub,
    Billed,
    ChainHubError,
    ConfigurationError,
    ConnectionLostError,
    ImageSource,
    InvalidOptionError,
    Limits,
    NotFoundError,
    Timeout,
)
from chainhub_async.testing import Emulator, MisbehavingServer
from chainhub_async.testing.bad_answers import Answer
from chainhub_async.testing.faults import CloseAfter
from chainhub_async.testing.placeholder import flat_png

pytestmark = pytest.mark.anyio

PHOTO = flat_png((8, 8), "request")
PAID = "/ideogram/v1/ideogram-v3/replace-background"


async def test_get(hub: AsyncChainHub, emulator: Emulator) -> None:
    """The answer has status, headers and JSON; the key was sent."""
    answer = await hub.request("get", "/v1/models")
    assert answer.status == 200
    assert answer.json()["object"] == "list"
    assert answer.header("content-type") == "application/json; charset=utf-8"
    assert answer.request_id == emulator.requests[0].request_id
    assert emulator.requests[0].values("Authorization") == [f"Bearer {emulator.api_key}"]
    assert emulator.requests[0].body_bytes == 0


async def test_a_form_makes_the_paid_call(hub: AsyncChainHub, emulator: Emulator) -> None:
    """By hand, with an image, lists, numbers and JSON, it is what the endpoint sends."""
    form = {
        "image": await ImageSource.of(PHOTO),
        "prompt": "a forest",
        "num_images": 2,
        "style_codes": ["0123abcd", "89abcdef"],
        "color_palette": {"name": "EMBER"},
    }
    answer = await hub.request("POST", PAID, form=form, images=2)
    assert len(answer.json()["data"]) == 2
    record = emulator.requests[0]
    assert record.texts("style_codes") == ["0123abcd", "89abcdef"]
    assert json.loads(record.texts("color_palette")[0]) == {"name": "EMBER"}
    assert record.billed == 2


async def test_json_query_and_headers(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """They arrive as given; the base URL's own origin gets them."""
    server.always(Answer(body=b"{}"))
    await tried.request(
        "POST",
        "/v1/chat?a=1",
        json={"é": [1, None]},
        params={"b": "2&c"},
        headers={"X-Own": "yes"},
    )
    received = server.received[0]
    assert received.method == "POST"
    assert received.path in {"/v1/chat?a=1&b=2%26c", "/v1/chat?b=2%26c&a=1"}
    assert received.header("X-Own") == "yes"
    assert received.header("Content-Type") == "application/json"
    assert received.body_complete


async def test_errors_are_the_same(hub: AsyncChainHub) -> None:
    """A refusal is raised as for the named endpoints."""
    with pytest.raises(NotFoundError) as caught:
        await hub.request("POST", "/nowhere", json={})
    assert caught.value.billed is Billed.NO
    assert caught.value.request_id


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_what_may_cost_is_sent_once(
    tried: AsyncChainHub, server: MisbehavingServer, method: str
) -> None:
    """A lost answer to anything but GET, HEAD and OPTIONS is never asked for again."""
    for script in (server.posts, server.gets):
        script.always(CloseAfter())
    with pytest.raises(ConnectionLostError) as caught:
        await tried.request(method, "/v1/something", json={"a": 1}, images=1)
    assert caught.value.billed is Billed.MAYBE
    assert len(server.received) == 1


async def test_what_is_free_is_resent(tried: AsyncChainHub, server: MisbehavingServer) -> None:
    """A lost answer to a GET is."""
    server.gets.script(CloseAfter(), CloseAfter(), Answer(body=b"{}"))
    answer = await tried.request("GET", "/v1/something")
    assert answer.json() == {}
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("GET", "v1/models"), "must begin with /"),
        (("GET", "http://127.0.0.1:9/"), "must begin with /"),
        (("GET", "@127.0.0.1:9/"), "must begin with /"),
        (("GET", "/a\r\nX: y"), "must begin with /"),
        (("GET", None), "must begin with /"),
        (("GE T", "/"), "HTTP method"),
        ((None, "/"), "HTTP method"),
    ],
)
async def test_where_it_cannot_go(
    tried: AsyncChainHub, server: MisbehavingServer, arguments: tuple[Any, Any], words: str
) -> None:
    """A path stays on the gateway; what is none is refused."""
    with pytest.raises(InvalidOptionError, match=words):
        await tried.request(*arguments)
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"json": 1, "form": {"a": "b"}}, InvalidOptionError),
        ({"json": object()}, InvalidOptionError),
        ({"json": float("nan")}, InvalidOptionError),
        ({"headers": {"Authorization": "x"}}, InvalidOptionError),
        ({"headers": {"X": "a\nb"}}, InvalidOptionError),
        ({"images": -1}, InvalidOptionError),
        ({"images": 11}, InvalidOptionError),
        ({"timeout": 5}, ConfigurationError),
    ],
)
async def test_refused_before_sending(
    tried: AsyncChainHub,
    server: MisbehavingServer,
    options: dict[str, Any],
    kind: type[ChainHubError],
) -> None:
    """What cannot be sent is refused in a sentence, and nothing is."""
    with pytest.raises(kind):
        await tried.request("POST", "/v1/something", **options)
    assert server.connections == 0


async def test_its_images_take_places(emulator: Emulator) -> None:
    """What a call makes is counted in the limit of what is in flight."""
    async with AsyncChainHub(
        emulator.api_key, base_url=emulator.base_url, limits=Limits(in_flight=2)
    ) as hub:
        with pytest.raises(InvalidOptionError, match="can never start"):
            await hub.request("POST", PAID, json={}, images=3)
        assert (await hub.request("GET", "/v1/models", timeout=Timeout(total=9))).status == 200
