"""Result URLs: which may be downloaded, and from which networks."""

from __future__ import annotations

import socket
from urllib.parse import urljoin, urlsplit

import anyio

from chainhub_async.errors import DownloadError, UnsafeAddressError, printable
from chainhub_async.networks import Network, is_local, network_of

ANY_HOME = frozenset(Network) - {Network.FORBIDDEN}
"""Every network that may host a result."""


def check(url: str) -> None:
    """Refuses a URL that cannot be that of a result.

    Raises:
        DownloadError: it is not http or https, has no host, or contains credentials.
    """
    if not _is_web_address(url):
        raise DownloadError(
            f"The result's URL is {printable(url, 200)!r}; an http:// or https:// URL is expected.",
            url=url,
        )
    if "@" in urlsplit(url).netloc:
        # aiohttp would send them as credentials.
        raise DownloadError(
            "The result's URL contains a user name or password, which are never sent.", url=url
        )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def redirected(url: str, location: str | None, origin: str) -> str:
    """Returns the target of a redirect.

    Args:
        url: the URL that redirects.
        location: its `Location` header.
        origin: the result's own URL, for the error.

    Raises:
        DownloadError: it has no target, or leaves https.
    """
    if not location:
        raise DownloadError("The result's URL redirects without a target.", url=origin)
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    check(target)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise UnsafeAddressError(
            "The result's URL redirects from https to unencrypted http.", url=origin
        )
    return target


def check_literal(url: str, allowed: frozenset[Network]) -> None:
    """Refuses a URL whose host is an IP address, in any form, outside the allowed networks.

    Raises:
        UnsafeAddressError: it is outside them.
    """
    host = urlsplit(url).hostname or ""
    try:
        network = network_of(host)
    except ValueError:
        network = Network.LOOPBACK if is_local(host) else _network_of_number(host)
    if network not in allowed:
        raise unsafe(url)


def _network_of_number(host: str) -> Network:
    # Resolvers take 2130706433, 0x7f.1 and 0177.0.0.1 for 127.0.0.1.
    try:
        return network_of(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, ValueError):
        return Network.PUBLIC


async def networks_of(host: str) -> frozenset[Network]:
    """Returns the networks that a host's addresses belong to.

    Raises:
        OSError: its name cannot be resolved.
    """
    if is_local(host):
        return frozenset({Network.LOOPBACK})
    found = await anyio.getaddrinfo(host, None)
    return frozenset(network_of(str(address[4][0])) for address in found)


def unsafe(url: str) -> UnsafeAddressError:
    """Returns the error for a URL that leads outside the allowed networks."""
    return UnsafeAddressError(
        "The result's URL leads to a private address, not a public one. If that network is yours, "
        "pass allow_private=True; link-local and cloud metadata addresses are always refused.",
        url=url,
    )
