"""Result URLs: which may be downloaded, and from which networks."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

import yarl

from chainhub_async.errors import DownloadError, UnsafeAddressError, printable
from chainhub_async.lookups import look_up
from chainhub_async.networks import Network, is_local, network_of

ANY_HOME = frozenset(Network) - {Network.FORBIDDEN}
"""Every network that may host a result."""

# A proxy might decode a percent sign, and whatever else does not belong in a host, in its own way.
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
# RFC 3986 §3.2.2 knows one form; resolvers also take 2130706433, 0x7f.1 and 0177.0.0.1 for
# 127.0.0.1. No top-level domain is a number.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")


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


def as_sent(url: str) -> yarl.URL:
    """Returns a URL as it is sent: unchanged where possible, its host without Unicode.

    Raises:
        ValueError: it cannot be sent.
        DownloadError: its host is neither a name nor an IP address.
    """
    # A signature may cover the exact text of the URL.
    sent = yarl.URL(url, encoded=True) if _is_encoded(url) else yarl.URL(url)
    if not _HOST.fullmatch(sent.raw_host or ""):
        raise DownloadError(
            f"The host in the result's URL, {printable(sent.raw_host or '', 200)!r}, is neither a "
            "name nor an IP address.",
            url=url,
        )
    return sent


def _is_encoded(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}#')


def check_literal(sent: yarl.URL, allowed: frozenset[Network]) -> None:
    """Refuses a URL whose host is an IP address outside the allowed networks.

    An IP address in any but the usual form is always refused.

    Args:
        sent: the URL that is sent: full-width digits in the original are digits in it.
        allowed: the networks.

    Raises:
        UnsafeAddressError: it is outside them.
    """
    host = (sent.raw_host or "").rstrip(".")
    if _network_of_host(host) not in allowed:
        raise unsafe(str(sent))


def _network_of_host(host: str) -> Network:
    if is_local(host):
        return Network.LOOPBACK
    try:
        return network_of(host)
    except ValueError:
        return Network.FORBIDDEN if ":" in host or _NUMBER.fullmatch(host) else Network.PUBLIC


async def networks_of(host: str) -> frozenset[Network]:
    """Returns the networks that a host's addresses belong to.

    Raises:
        OSError: its name cannot be resolved.
    """
    if is_local(host):
        return frozenset({Network.LOOPBACK})
    found = await look_up(host)
    return frozenset(network_of(str(address[4][0])) for address in found)


def unsafe(url: str) -> UnsafeAddressError:
    """Returns the error for a URL that leads outside the allowed networks."""
    return UnsafeAddressError(
        "The result's URL leads to a private address, not a public one. If that network is yours, "
        "pass allow_private=True; link-local and cloud metadata addresses are always refused.",
        url=url,
    )
