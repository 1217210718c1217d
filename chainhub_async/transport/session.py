"""The aiohttp session: verified TLS, no cookies, deadlines wired to its traces."""

from __future__ import annotations

import os
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from socket import socket
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver

from chainhub_async.config import Secret
from chainhub_async.errors import ConfigurationError
from chainhub_async.networks import Network, is_local, network_of
from chainhub_async.transport.deadlines import Deadlines
from chainhub_async.transport.lookup import Resolver

# Shorter than what servers and load balancers allow an idle connection, so that a paid call does
# not meet one that is just being closed.
_KEEP_ALIVE = 4.0

# What urllib.request.getproxies goes by, of what matters here.
_VARIABLES = [
    name
    for lower in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method")
    for name in (lower, lower.upper())
]


class AddressRefusedError(OSError):
    """Raised instead of connecting to an address. The text is the same for every address."""

    def __init__(self) -> None:
        super().__init__("the address is not in a network that may be connected to")


class BrokenOffError(aiohttp.ClientConnectionError):
    """The connection was lost; raised in place of errors that make aiohttp resend by itself."""


def check_ssl_context(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Returns the context if it verifies the server.

    Raises:
        ConfigurationError: it does not verify certificate or host name, or allows TLS below 1.2.
    """
    if context is None:
        return None
    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(f"ssl_context is {context!r}; an ssl.SSLContext is expected.")
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigurationError(
            "ssl_context does not verify the server. For a custom CA, use "
            "ssl.create_default_context(cafile=...), which does."
        )
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ConfigurationError("ssl_context allows TLS below 1.2; set its minimum_version.")
    return context


@lru_cache(maxsize=1)
def _default_ssl_context() -> ssl.SSLContext:
    # One for all clients: loading the certificates takes milliseconds.
    context = ssl.create_default_context()
    context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


def open_session(
    *,
    connections: int | None,
    ssl_context: ssl.SSLContext | None,
    borrowed: aiohttp.ClientSession | None = None,
    networks: frozenset[Network] | None = None,
) -> aiohttp.ClientSession:
    """Returns a new session; must be called on the event loop that will use it.

    Args:
        connections: how many may be open, or None.
        ssl_context: a checked context, or None for the default.
        borrowed: a caller's session: its connections are used, and not closed. Its cookies,
            headers, redirects and timeouts are ignored: they would change what is sent.
        networks: those that may be connected to, judged by the IP address, or None for all.
    """
    traces = [_deadline_trace()]
    if borrowed is not None:
        if borrowed.connector is None:
            raise ConfigurationError("The aiohttp session that was passed in is closed.")
        connector, owner = borrowed.connector, False
        traces += borrowed.trace_configs
    else:
        connector, owner = _connector(connections, ssl_context, networks), True
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=owner,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # aiohttp would also read ~/.netrc and send what it finds there
        trace_configs=traces,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=True,
        middlewares=(_sent_once,),
    )


async def _sent_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp resends idempotent methods after these: unseen, uncounted, and PUT and DELETE too.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except aiohttp.ServerDisconnectedError:
        # Its text may repeat headers that the server sent.
        raise BrokenOffError("the server closed the connection") from None
    except aiohttp.ClientOSError as lost:
        raise BrokenOffError(f"{type(lost).__name__}: {lost}") from None


def _connector(
    connections: int | None,
    ssl_context: ssl.SSLContext | None,
    networks: frozenset[Network] | None,
) -> aiohttp.TCPConnector:
    def checked_socket(info: Any) -> socket:
        family, kind, protocol, _, address = info
        if networks is not None and network_of(address[0]) not in networks:
            raise AddressRefusedError
        return socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        limit=connections or 0,
        keepalive_timeout=_KEEP_ALIVE,
        ssl=ssl_context or _default_ssl_context(),
        socket_factory=checked_socket,
        resolver=_resolver(),
    )


def _resolver() -> AbstractResolver | None:
    # With aiodns installed, aiohttp needs no threads.
    return Resolver() if issubclass(aiohttp.DefaultResolver, aiohttp.ThreadedResolver) else None


def request_ssl(
    ssl_context: ssl.SSLContext | None, borrowed: aiohttp.ClientSession | None
) -> ssl.SSLContext | bool:
    """Returns what to pass as `ssl` with each request, so that TLS is always verified."""
    if ssl_context is not None:
        return ssl_context
    if borrowed is None:
        return True
    # A borrowed connector may have been made with ssl=False; what it has is not public.
    own = getattr(borrowed.connector, "_ssl", None)
    return _default_ssl_context() if not isinstance(own, ssl.SSLContext) else _checked(own)


def _checked(context: ssl.SSLContext) -> ssl.SSLContext:
    check_ssl_context(context)
    return context


def _deadline_trace() -> aiohttp.TraceConfig:
    """Notifies the deadlines when a request leaves the pool's queue and when it is connected."""

    async def connecting(_: Any, context: SimpleNamespace, __: Any) -> None:
        _deadlines(context, Deadlines.connecting)

    async def connected(_: Any, context: SimpleNamespace, __: Any) -> None:
        _deadlines(context, Deadlines.connected)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(connecting)
    trace.on_connection_create_end.append(connected)
    trace.on_connection_reuseconn.append(connected)
    return trace


def _deadlines(context: SimpleNamespace, step: Callable[[Deadlines], None]) -> None:
    deadlines = context.trace_request_ctx
    if isinstance(deadlines, Deadlines):
        step(deadlines)


def proxy_for(url: str, given: Secret | None) -> str | None:
    """Returns the proxy to use for `url`: the one given, or the environment's.

    An empty string means none. The environment's proxy is never used for this machine itself.

    Raises:
        ConfigurationError: the environment names a proxy that is not http:// or https://.
    """
    if given is not None:
        return given.reveal() or None
    proxy = _environment_proxy(url)
    problem = _problem_with(proxy)
    if problem is None:
        return proxy
    del proxy  # it may hold a password
    raise ConfigurationError(
        f"The environment's proxy is {problem}; only http:// and https:// proxies can be used. "
        'Pass proxy="" to use none.'
    )


def _environment_proxy(url: str) -> str | None:
    parts = urlsplit(url)
    if is_local(parts.hostname or ""):
        return None
    # What decides it, so that the rest, which takes longer than anything else in a call, is done
    # once. Windows and macOS also have settings: those are looked at again every minute.
    minute = int(time.monotonic() // 60) if sys.platform in {"darwin", "win32"} else 0
    place = parts.netloc.rpartition("@")[2]
    return _found_proxy(parts.scheme, place, tuple(map(os.environ.get, _VARIABLES)), minute)


@lru_cache(maxsize=16)
def _found_proxy(scheme: str, place: str, _: tuple[str | None, ...], __: int) -> str | None:
    if urllib.request.proxy_bypass(place):
        return None
    found = urllib.request.getproxies()
    proxy = found.get(scheme) or found.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _problem_with(proxy: str | None) -> str | None:
    if not proxy:
        return None
    try:
        parts = urlsplit(proxy)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return None
    except ValueError:
        return "not a valid URL"
    return f"a {parts.scheme}:// URL"
