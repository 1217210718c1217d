"""P16, P21: the key, and what a server sends to a terminal, in nothing that is kept or shown."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import attrs
import pytest

from chainhub_async import (
    AsyncChainHub,
    ChainHub,
    ChainHubError,
    ConfigurationError,
    RetryPolicy,
    Timeout,
)
from chainhub_async.events import Event
from chainhub_async.testing import MisbehavingServer
from chainhub_async.testing.bad_answers import EchoKey, EmptyAnswer, TooManyRequests
from chainhub_async.testing.faults import AcceptAndClose, CutHead, Fault, NoAnswer, ResetAfter
from chainhub_async.testing.http_bytes import Exchange, Reply
from replies.leaks import KEY, assert_hidden, escaped_forms, logged

FORMS = escaped_forms(KEY)
ONCE = RetryPolicy(max_attempts=1)
HASTE = Timeout(connect=2, write=2, read=0.3, reply=0.3)


@attrs.frozen
class Echo(Fault):
    """Answers with the key, escaped in some form, in headers and body."""

    form: str
    status: int = 200
    body: str = "<html><title>Bearer %s</title></html>"
    headers: tuple[tuple[str, str], ...] = (("X-Oneapi-Request-Id", "%s"), ("Location", "/?k=%s"))

    async def act(self, x: Exchange) -> None:
        key = FORMS[self.form]
        await x.reply(
            Reply(
                self.status,
                headers=tuple((name, value.replace("%s", key)) for name, value in self.headers),
                body=self.body.replace("%s", key).encode(),
            )
        )


@attrs.frozen
class Raw(Fault):
    """Answers with bytes as they stand, `%s` being the key."""

    template: str

    async def act(self, x: Exchange) -> None:
        await x.wire.send(self.template.replace("%s", KEY).encode("latin-1"))
        await x.end()


_BY_STATUS = [Echo(form, status) for status in (200, 307, 401, 500) for form in FORMS]
_JSON_ERROR = '{"error": {"message": "bad key Bearer %s", "code": "%s", "type": "%s"}}'
CASES: list[Fault] = [
    *_BY_STATUS,
    *(Echo(form, 401, _JSON_ERROR) for form in FORMS if "json" in form or "unicode" in form),
    EchoKey(401),
    EchoKey(429),
    EchoKey(500),
    EchoKey(200),
    EmptyAnswer(),
    TooManyRequests(1),
    NoAnswer(),
    ResetAfter(10),
    ResetAfter(None),
    CutHead(),
    AcceptAndClose(),
    Raw("HTTP/1.1 200 OK\r\nX-Nul: a\0Bearer %s\r\nContent-Length: 0\r\n\r\n"),
    Raw("HTTP/1.1 200 OK\r\nBearer %s no colon\r\n\r\n"),
    Raw("HTTP/1.1 two hundred %s\r\n\r\n"),
    Raw("Bearer %s\r\n\r\n"),
    Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\nx\r\n"),
    Raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{'key': '%s'"),
    Raw("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 21\r\n\r\n%s"),
    Raw("HTTP/1.1 500 %s\r\nContent-Length: 0\r\n\r\n"),
]


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """With asyncio's own debugging, which logs more."""
    return "asyncio", {"debug": True}


@pytest.fixture
async def server(anyio_backend: object) -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer() as running:
        yield running


@pytest.fixture(scope="module")
def threaded() -> Iterator[MisbehavingServer]:
    with MisbehavingServer.in_thread() as running:
        yield running


@pytest.fixture
def image(photo: str) -> bytes:
    return Path(photo).read_bytes()


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def client(server: MisbehavingServer, events: list[Event]) -> AsyncChainHub:
    return AsyncChainHub(
        KEY, base_url=server.base_url, timeout=HASTE, retry=ONCE, on_event=events.append
    )


@pytest.mark.anyio
@pytest.mark.parametrize("fault", CASES, ids=repr)
async def test_no_failure_shows_the_key(
    fault: Fault, server: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the server does and echoes, neither exception, event nor log holds the key."""
    events: list[Event] = []
    server.always(fault)
    async with client(server, events) as hub:
        with pytest.raises(ChainHubError) as caught:
            await hub.ideogram.replace_background(image, prompt="x")
        assert_hidden(caught.value, *events, hub, *logged(caplog.records))
    if server.received:
        assert server.received[0].header("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("fault", CASES, ids=repr)
def test_no_failure_shows_the_key_to_blocking_callers(
    fault: Fault, threaded: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The same through the thread of the blocking client, whose frames come on top."""
    events: list[Event] = []
    threaded.always(fault)
    hub = ChainHub(
        KEY, base_url=threaded.base_url, timeout=HASTE, retry=ONCE, on_event=events.append
    )
    with hub, pytest.raises(ChainHubError) as caught:
        hub.ideogram.replace_background(image, prompt="x")
    assert_hidden(caught.value, *events, hub, *logged(caplog.records))


@pytest.mark.anyio
@pytest.mark.parametrize("form", FORMS)
async def test_no_result_shows_the_key(form: str, server: MisbehavingServer, image: bytes) -> None:
    """A good answer is hidden from too, and stays readable."""
    body = json.dumps({"data": [{"url": "https://x.example/a.png?k=@"}], "seen": "@"})
    server.always(Echo(form, 200, body.replace("@", "%s")))
    events: list[Event] = []
    async with client(server, events) as hub:
        result = await hub.ideogram.replace_background(image, prompt="x")
        answer = await hub.request("POST", "/other")
    assert result.images[0].url == "https://x.example/a.png?k=***"
    assert result.raw["seen"] == "***"
    assert_hidden(result, result.raw, answer, answer.body, answer.headers, *events)


@pytest.mark.anyio
async def test_refused_connections_show_no_key(
    server: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was sent, and the frames that prepared it are not kept."""
    events: list[Event] = []
    with server.refuse():
        async with client(server, events) as hub:
            with pytest.raises(ChainHubError) as caught:
                await hub.ideogram.replace_background(image, prompt="x")
    assert_hidden(caught.value, *events, *logged(caplog.records))


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [NoAnswer(), TooManyRequests()], ids=repr)
async def test_cancellation_shows_no_key(
    fault: Fault, server: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller's own time-out carries the frames it interrupted: aiohttp's hold the headers."""
    server.always(fault)
    events: list[Event] = []
    hub = client(server, events).with_options(
        timeout=Timeout(read=30), retry=RetryPolicy(base_delay=30)
    )
    async with hub:
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.3):
            await hub.ideogram.replace_background(image, prompt="x")
    assert_hidden(caught.value, *events, *logged(caplog.records))


@pytest.mark.anyio
async def test_a_failing_callback_logs_no_key(
    server: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What a callback raises is logged with its traceback."""

    def fails(event: Event) -> None:
        raise RuntimeError(f"no bar for {event}")

    server.always(EchoKey(401))
    async with client(server, []).with_options(on_event=fails) as hub:
        with pytest.raises(ChainHubError):
            await hub.ideogram.replace_background(image, prompt="x")
    told = [record for record in caplog.records if record.name == "chainhub_async"]
    assert told
    assert_hidden(*logged(caplog.records))


@pytest.mark.anyio
async def test_results_and_their_redirects_never_get_the_key(
    server: MisbehavingServer, image: bytes, tmp_path: Any
) -> None:
    """Only the configured origin's API calls carry it."""
    async with client(server, []) as hub:
        result = await hub.ideogram.replace_background(image, prompt="x")
        await hub.save(result, tmp_path)
    gets = [received for received in server.received if received.method == "GET"]
    assert len(gets) == 1
    assert not any(KEY in value for received in gets for _, value in received.headers)


BAD_SETTINGS: list[dict[str, Any]] = [
    {"base_url": "ftp://x"},
    {"base_url": "https://user:password@x.example"},
    {"timeout": 5},
    {"retry": 5},
    {"limits": 5},
    {"proxy": "socks5://proxy"},
    {"ssl_context": 5},
    {"on_event": 5},
    {"api_key": f"{KEY}\n{KEY}"},
    {"api_key": f"{KEY}é"},
]
FIXED = {"limits", "ssl_context"}


@pytest.mark.parametrize("bad", range(len(BAD_SETTINGS)))
@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_no_bad_setting_shows_the_key(bad: int, kind: Callable[..., Any]) -> None:
    """Refusing a setting tells nothing of the key given with it, not in a frame's locals either."""
    with pytest.raises(ConfigurationError) as caught:
        kind(**{"api_key": KEY, **BAD_SETTINGS[bad]})
    assert_hidden(caught.value)


@pytest.mark.parametrize("bad", range(len(BAD_SETTINGS)))
@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_no_bad_setting_shows_the_key_of_the_environment(
    bad: int, kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment as a whole is in no frame either."""
    monkeypatch.setenv("CHAINHUB_API_KEY", KEY)
    with pytest.raises(ConfigurationError) as caught:
        kind(**BAD_SETTINGS[bad])
    assert_hidden(caught.value)


@pytest.mark.parametrize(
    "bad", [number for number, bad in enumerate(BAD_SETTINGS) if not FIXED & {*bad}]
)
@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_no_bad_change_shows_the_key(bad: int, kind: Callable[..., Any]) -> None:
    """`with_options` refuses as discreetly."""
    hub = kind(KEY)
    with pytest.raises(ConfigurationError) as caught:
        hub.with_options(**{"api_key": KEY, **BAD_SETTINGS[bad]})
    assert_hidden(caught.value, hub)


@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_clients_show_no_key_and_do_not_pickle(kind: Callable[..., Any]) -> None:
    """A client is built where it is used; what it says of itself is its address."""
    hub = kind(KEY, base_url="https://x.example", proxy=f"http://u:{quote(KEY, safe='')}@proxy")
    assert repr(hub) == f"{kind.__name__}(base_url='https://x.example')"
    inner = hub if isinstance(hub, AsyncChainHub) else hub._async
    assert_hidden(hub, inner._transport, inner._transport.config, vars(inner), vars(hub))


SPELLS = "\x1b]0;owned\x07\r\nINFO paid: 0\u202egnp.exe\x9b31m"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 503])
async def test_no_answer_can_forge_a_log_line(
    status: int, server: MisbehavingServer, image: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """P21: what a server says is shown on one line, without marks a terminal obeys."""
    words = {"message": SPELLS, "code": SPELLS, "request_id": SPELLS, "data": None}
    server.always(
        Echo("plain", status, json.dumps(words), headers=(("Location", "/\t\x9b\u202e"),))
    )
    events: list[Event] = []
    async with client(server, events) as hub:
        with pytest.raises(ChainHubError) as caught:
            await hub.ideogram.replace_background(image, prompt="x")
    shown = [str(caught.value), repr(caught.value), caught.value.request_id or ""]
    shown += [str(event) for event in events] + [entry.getMessage() for entry in caplog.records]
    shown += [str(attempt) for attempt in caught.value.attempts]
    assert "owned" in shown[0] or status == 302
    assert not [text for text in shown if not text.isprintable()]


@pytest.mark.anyio
async def test_a_short_key_is_hidden_from_failures_and_damages_no_result(
    server: MisbehavingServer, image: bytes
) -> None:
    """A key of a few letters occurs by chance: only in an answer that is an error it is blotted."""
    async with AsyncChainHub("png", base_url=server.base_url, retry=ONCE) as hub:
        result = await hub.ideogram.replace_background(image, prompt="x")
        assert result.images[0].url is not None
        assert ".png" in result.images[0].url
        server.always(EchoKey(401))
        with pytest.raises(ChainHubError) as caught:
            await hub.ideogram.replace_background(image, prompt="x")
    assert "png" not in str(caught.value)


def test_the_search_finds_a_key() -> None:
    """The tests above would notice: a frame's local, a cause, and an escaped echo are found."""

    def leak(secret: str) -> None:
        raise ValueError("no word")

    for form in FORMS.values():
        with contextlib.suppress(ValueError), pytest.raises(AssertionError):
            assert_hidden(form)
    with pytest.raises(ValueError, match="no word") as caught:
        leak(KEY)
    with pytest.raises(AssertionError, match="stands in"):
        assert_hidden(caught.value)
