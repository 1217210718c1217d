"""Addresses of results: what may be fetched, and from which networks."""

from __future__ import annotations

import socket
from urllib.parse import urljoin, urlsplit

import anyio

from chainhub_async.errors import DownloadError, UnsafeAddressError, printable
from chainhub_async.networks import Network, is_local, network_of

ANY_HOME = frozenset(Network) - {Network.FORBIDDEN}
"""Every network that an image can live in."""


def check(url: str) -> None:
    """Refuses what is no address of a result.

    Raises:
        DownloadError: it is not http or https, names no host, or holds a user name.
    """
    if not _is_web_address(url):
        raise DownloadError(
            f"The result's address is {printable(url, 200)!r}; an http:// or https:// address is "
            "expected.",
            url=url,
        )
    if "@" in urlsplit(url).netloc:
        # aiohttp would send them as credentials.
        raise DownloadError(
            "The result's address holds a user name or password; none is ever sent.", url=url
        )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def redirected(url: str, location: str | None, origin: str) -> str:
    """Returns where a redirect leads to.

    Args:
        url: the address that redirects.
        location: what it says.
        origin: the result's own address, for the error.

    Raises:
        DownloadError: it leads nowhere, or away from https.
    """
    if not location:
        raise DownloadError("The result's address redirects to nowhere.", url=origin)
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    check(target)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise UnsafeAddressError(
            "The result's address redirects from https to an unprotected one.", url=origin
        )
    return target


def check_literal(url: str, allowed: frozenset[Network]) -> None:
    """Refuses an address whose host is an IP address, in any form, outside the networks allowed.

    Raises:
        UnsafeAddressError: it is.
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
        OSError: its name cannot be looked up.
    """
    if is_local(host):
        return frozenset({Network.LOOPBACK})
    found = await anyio.getaddrinfo(host, None)
    return frozenset(network_of(str(address[4][0])) for address in found)


def unsafe(url: str) -> UnsafeAddressError:
    """Returns the error for an address that leads where it may not."""
    return UnsafeAddressError(
        "The result's address leads into a private network, not to a public one. If it is yours, "
        "pass allow_private=True; what is link-local or a cloud's metadata stays refused.",
        url=url,
    )
