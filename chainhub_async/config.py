"""A client's settings: argument, then environment, then default, resolved in this one place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs

from chainhub_async.errors import ConfigurationError

# API description: `servers`.
DEFAULT_BASE_URL = "https://api.chainhub.tech"
# About thirty years: a larger value than clocks accept must mean "no limit".
_LONGEST = 1e9


def _positive(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a number, or None for no limit, is allowed."
        )
    if not 0 < value <= _LONGEST:
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a number above zero (up to {_LONGEST:g}), or None for "
            "no limit, is allowed."
        )


def _count(_: Any, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(
            f"{attribute.name} is {value!r}; a whole number from 1, or None for no limit, is "
            "allowed."
        )


@attrs.frozen(kw_only=True)
class Timeout:
    """Timeouts in seconds. None disables one. Time queued behind `Limits` does not count.

    Attributes:
        connect: establishing a connection, including TLS.
        write: upload progress: the longest the upload may stall. The whole upload is limited to
            this or to the time it takes at 64 kB/s, whichever is longer.
        read: waiting for the response's headers after the last byte was sent.
        reply: reading the response's body.
        attempt: one attempt as a whole.
        total: the whole call, including retries and the pauses between them.
    """

    connect: float | None = attrs.field(default=10.0, validator=_positive)
    write: float | None = attrs.field(default=30.0, validator=_positive)
    read: float | None = attrs.field(default=300.0, validator=_positive)
    reply: float | None = attrs.field(default=30.0, validator=_positive)
    attempt: float | None = attrs.field(default=360.0, validator=_positive)
    total: float | None = attrs.field(default=None, validator=_positive)


@attrs.frozen(kw_only=True)
class Limits:
    """Concurrency and rate limits. None disables one.

    Attributes:
        in_flight: images being generated at the same time. A call with `num_images=4` counts as
            four. Ideogram allows 10 per account.
        per_minute: calls started in any 60 seconds.
        connections: open connections.
    """

    in_flight: int | None = attrs.field(default=10, validator=_count)
    per_minute: int | None = attrs.field(default=None, validator=_count)
    connections: int | None = attrs.field(default=100, validator=_count)


def timeout_or(default: Timeout, given: Any) -> Timeout:
    """Returns the timeouts of one call.

    Raises:
        ConfigurationError: the value is not a `Timeout`.
    """
    if given is None:
        return default
    if not isinstance(given, Timeout):
        raise ConfigurationError(
            f"timeout is {given!r}; a Timeout(...) is expected, such as Timeout(total=60)."
        )
    return given


class Secret:
    """A string that `reveal` alone exposes; it never appears in a repr, log or pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("An API key cannot be pickled; create the client where it is used.")


@attrs.frozen(kw_only=True)
class ClientConfig:
    """A client's settings, resolved and checked."""

    api_key: Secret
    base_url: str
    timeout: Timeout
    limits: Limits
    proxy: Secret | None

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout: Timeout | None,
        limits: Limits | None,
        proxy: str | None,
        environ: Mapping[str, str] | None = None,
    ) -> ClientConfig:
        """Fills missing values from the environment and the defaults.

        Raises:
            ConfigurationError: a value is missing or invalid; the message names it.
        """
        try:
            environ = os.environ if environ is None else environ
            return cls(
                api_key=_key(environ.get("CHAINHUB_API_KEY", "") if api_key is None else api_key),
                base_url=_base_url(
                    base_url or environ.get("CHAINHUB_BASE_URL") or DEFAULT_BASE_URL
                ),
                timeout=_instance("timeout", timeout, Timeout),
                limits=_instance("limits", limits, Limits),
                proxy=None if proxy is None else Secret(_proxy(proxy)),
            )
        finally:
            # Error reporters show the local variables of frames.
            del api_key, environ, proxy


def _instance(name: str, value: Any, kind: Any) -> Any:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} is {value!r}; a {kind.__name__}(...) is expected.")
    return value


def _key(key: str) -> Secret:
    try:
        if not isinstance(key, str):
            raise ConfigurationError(f"api_key is a {type(key).__name__}; text is expected.")
        key = key.strip()
        if not key:
            raise ConfigurationError(
                "No API key: set the environment variable CHAINHUB_API_KEY, or pass api_key=..."
            )
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ConfigurationError(
                "The API key contains a space, a control character or a non-ASCII character and "
                "cannot be sent in a header. Check that it was copied completely."
            )
        return Secret(key)
    finally:
        del key


def _base_url(url: str) -> str:
    if not isinstance(url, str):
        raise ConfigurationError(f"base_url is a {type(url).__name__}; text is expected.")
    parts = _split("base_url", url.strip())
    if "@" in parts.netloc:
        raise ConfigurationError("base_url contains a user name or password; use api_key= instead.")
    if "?" in url or "#" in url:
        raise ConfigurationError(
            "base_url contains a query or fragment; only a host and path are allowed."
        )
    return url.strip().rstrip("/")


def _proxy(url: str) -> str:
    try:
        if not isinstance(url, str):
            raise ConfigurationError(f"proxy is a {type(url).__name__}; text is expected.")
        # An empty string means "no proxy, whatever the environment says".
        if url:
            _split("proxy", url)
        return url
    finally:
        del url  # it may hold a password


def _split(name: str, url: str) -> SplitResult:
    with suppress(ValueError):
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if usable and url.isprintable() and " " not in url:
            return parts
        del parts
    # A proxy's URL may hold a password, so its value is not repeated.
    shown = f"is {url!r}" if name == "base_url" and "@" not in url else "cannot be used"
    del url
    raise ConfigurationError(
        f"{name} {shown}; an http:// or https:// URL with a host name is expected."
    )
