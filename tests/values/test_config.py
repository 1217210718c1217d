"""How a client is set up: argument, then environment, then default; each slip in a sentence."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async import AsyncChainHub, ChainHub, ConfigurationError, Limits, Timeout
from chainhub_async.config import DEFAULT_BASE_URL, ClientConfig, Secret

KEY = "sk-s3cr3t-key-42"


def resolve(environ: dict[str, str] | None = None, /, **given: Any) -> ClientConfig:
    blank = dict.fromkeys(("api_key", "base_url", "timeout", "limits", "proxy"))
    return ClientConfig.resolve(**{**blank, **given}, environ=environ or {})


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        ("sk-argument", "sk-environment", "sk-argument"),
        (None, "sk-environment", "sk-environment"),
        ("  sk-argument\n", None, "sk-argument"),
        (None, " sk-environment ", "sk-environment"),
    ],
)
def test_where_the_key_comes_from(
    argument: str | None, variable: str | None, expected: str
) -> None:
    """The argument first; white space around it is from copying."""
    environ = {} if variable is None else {"CHAINHUB_API_KEY": variable}
    assert resolve(environ, api_key=argument).api_key.reveal() == expected


@pytest.mark.parametrize(
    ("argument", "variable", "expected"),
    [
        ("https://a.example", "https://e.example", "https://a.example"),
        (None, "https://e.example", "https://e.example"),
        ("", "https://e.example", "https://e.example"),
        (None, "", DEFAULT_BASE_URL),
        (None, None, DEFAULT_BASE_URL),
        ("https://a.example/", None, "https://a.example"),
        (" https://a.example/v1// ", None, "https://a.example/v1"),
        ("http://127.0.0.1:8000", None, "http://127.0.0.1:8000"),
        ("http://[::1]:8000/x", None, "http://[::1]:8000/x"),
        ("HTTPS://A.example", None, "HTTPS://A.example"),
    ],
)
def test_where_the_address_comes_from(
    argument: str | None, variable: str | None, expected: str
) -> None:
    """The argument, `CHAINHUB_BASE_URL`, the documented server; a slash at the end is no matter."""
    environ = {} if variable is None else {"CHAINHUB_BASE_URL": variable}
    assert resolve(environ, api_key=KEY, base_url=argument).base_url == expected


def test_the_documented_server() -> None:
    """API description: `servers`."""
    assert DEFAULT_BASE_URL == "https://api.chainhub.tech"


def test_defaults() -> None:
    """Deadlines and limits as promised, no proxy of its own."""
    config = resolve(api_key=KEY)
    assert config.timeout == Timeout(
        connect=10, write=30, read=300, reply=30, attempt=360, total=None
    )
    assert config.limits == Limits(in_flight=10, per_minute=None, connections=100)
    assert config.proxy is None


def test_what_is_given_is_kept() -> None:
    """Deadlines, limits and proxy."""
    timeout, limits = Timeout(total=5), Limits(in_flight=None)
    config = resolve(api_key=KEY, timeout=timeout, limits=limits, proxy="http://p:3128")
    assert (config.timeout, config.limits) == (timeout, limits)
    assert config.proxy is not None
    assert config.proxy.reveal() == "http://p:3128"
    none = resolve(api_key=KEY, proxy="").proxy
    assert none is not None
    assert none.reveal() == ""


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({}, "^No API key: set the environment variable CHAINHUB_API_KEY, or pass api_key=...$"),
        ({"api_key": ""}, "No API key"),
        ({"api_key": " \n"}, "No API key"),
        ({"api_key": b"sk"}, "api_key is a bytes; text is expected"),
        ({"api_key": f"{KEY} {KEY}"}, "contains a space.*copied completely"),
        ({"api_key": f"{KEY}\r\nX: y"}, "control character"),
        ({"api_key": f"{KEY}\u2026"}, "non-ASCII character"),
        ({"api_key": f"{KEY}\x00"}, "control character"),
        ({"base_url": 5}, "base_url is a int; text"),
        ({"base_url": "a.example"}, "base_url is 'a.example'; an http:// or https:// URL"),
        ({"base_url": "ftp://a.example"}, "base_url is 'ftp://a.example'"),
        ({"base_url": "https://"}, "host name"),
        ({"base_url": "https://a.example:0"}, "host name"),
        ({"base_url": "https://a.example:x"}, "host name"),
        ({"base_url": "https://a.example:99999"}, "host name"),
        ({"base_url": "http://[::1"}, "host name"),
        ({"base_url": "https://a .example"}, "host name"),
        ({"base_url": "https://a.example\n/x"}, "host name"),
        ({"base_url": "https://user:pass@a.example"}, "contains a user name or password"),
        ({"base_url": "https://user@a.example"}, "contains a user name or password"),
        ({"base_url": "https://@a.example"}, "contains a user name or password"),
        ({"base_url": "https://a.example/?x=1"}, "query or fragment"),
        ({"base_url": "https://a.example/?"}, "query or fragment"),
        ({"base_url": "https://a.example/#x"}, "query or fragment"),
        ({"base_url": "https://a.example/x#"}, "query or fragment"),
        ({"timeout": 5}, r"timeout is 5; a Timeout\(...\) is expected"),
        ({"limits": 5}, r"limits is 5; a Limits\(...\) is expected"),
        ({"proxy": 5}, "proxy is a int; text"),
        ({"proxy": "proxy:3128"}, "proxy cannot be used; an http:// or https://"),
        ({"proxy": "socks5://proxy"}, "proxy cannot be used"),
    ],
)
def test_every_slip_is_named(bad: dict[str, Any], says: str) -> None:
    """What was refused, and what is allowed."""
    given = {"api_key": KEY, **bad} if bad else {}
    with pytest.raises(ConfigurationError, match=says) as caught:
        resolve(**given)
    assert KEY not in str(caught.value)


def test_no_password_is_repeated() -> None:
    """A proxy's, or one misplaced in the base URL."""
    for bad in ({"proxy": "socks5://u:hunter2@p"}, {"base_url": "ftp://u:hunter2@h"}):
        with pytest.raises(ConfigurationError) as caught:
            resolve(api_key=KEY, **bad)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["connect", "write", "read", "reply", "attempt", "total"])
@pytest.mark.parametrize(
    "value", [0, -1, "5", True, float("nan"), float("inf"), 10**400, 1e10, b"", [5]]
)
def test_a_deadline_is_a_number_above_zero(name: str, value: object) -> None:
    """None lifts it; nothing else that is no time will do."""
    with pytest.raises(ConfigurationError, match=f"{name} is .*; a number.*None for no limit"):
        Timeout(**{name: value})  # type: ignore[arg-type]  # misuse on purpose
    assert getattr(Timeout(**{name: None}), name) is None
    assert getattr(Timeout(**{name: 0.5}), name) == 0.5


@pytest.mark.parametrize("name", ["in_flight", "per_minute", "connections"])
@pytest.mark.parametrize("value", [0, -1, "5", True, 1.0, float("inf"), [5]])
def test_a_limit_is_a_whole_number_from_one(name: str, value: object) -> None:
    """None lifts it."""
    with pytest.raises(ConfigurationError, match=f"{name} is .*; a whole number from 1, or None"):
        Limits(**{name: value})  # type: ignore[arg-type]  # misuse on purpose
    assert getattr(Limits(**{name: None}), name) is None
    assert getattr(Limits(**{name: 7}), name) == 7


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_a_secret_never_shows_itself(text: str) -> None:
    """Neither by repr, str, format nor pickle; asked by name it does."""
    secret = Secret(text)
    assert secret.reveal() == text
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}"):
        assert shown.strip() == "Secret(***)"
    for keep in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            keep(secret)
    assert not hasattr(secret, "__dict__")


def test_a_configuration_shows_no_key() -> None:
    """A frozen value to look at, not to carry the key away."""
    config = resolve(api_key=KEY, proxy=f"http://u:{KEY}@p")
    assert KEY not in repr(config)
    for keep in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            keep(config)
    with pytest.raises(AttributeError):
        config.base_url = "https://evil.example"  # type: ignore[misc]  # misuse on purpose


@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_clients_do_not_pickle(kind: Any) -> None:
    """They are built where they are used: the key travels with no message."""
    with pytest.raises(TypeError):
        pickle.dumps(kind(KEY))


@pytest.mark.parametrize("kind", [AsyncChainHub, ChainHub])
def test_clients_read_the_environment(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are built, not when the package is imported."""
    with pytest.raises(ConfigurationError, match="CHAINHUB_API_KEY"):
        kind()
    monkeypatch.setenv("CHAINHUB_API_KEY", KEY)
    monkeypatch.setenv("CHAINHUB_BASE_URL", "https://e.example")
    assert repr(kind()) == f"{kind.__name__}(base_url='https://e.example')"


def test_settings_are_values() -> None:
    """Compared, hashed and frozen."""
    assert Timeout() == Timeout(connect=10.0)
    assert Limits() == Limits(in_flight=10)
    assert len({Timeout(), Timeout(), Timeout(read=1)}) == 2
    assert len({Limits(), Limits(), Limits(in_flight=1)}) == 2
    with pytest.raises(AttributeError):
        Timeout().read = 5  # type: ignore[misc]  # misuse on purpose
    with pytest.raises(TypeError):
        Timeout(*[5.0])
