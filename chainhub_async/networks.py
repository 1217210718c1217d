"""Which network an IP address belongs to, and whether a result may be fetched from there. Pure."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Where clouds answer anyone with the machine's credentials, outside the link-local range:
# Alibaba, Azure, Oracle, Amazon, Google.
_METADATA = {
    ip_address(address)
    for address in (
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
}
_NAT64 = ip_network("64:ff9b::/96")
# RFC 4291 §2.4: all of IPv6 that is routed to the world. What ipaddress calls global differs from
# one version of Python to the next.
_ROUTED = ip_network("2000::/3")
# This network (RFC 1122), protocol assignments (RFC 6890), and documentation (RFC 9637).
_NOBODYS = [ip_network(net) for net in ("0.0.0.0/8", "192.0.0.0/24", "3fff::/20")]


class Network(Enum):
    """The kind of network an IP address belongs to."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    FORBIDDEN = "forbidden"
    """Link-local, metadata, multicast, unspecified, reserved: never where a result is."""


def network_of(address: str) -> Network:
    """Returns the network of an IP address in text form.

    Raises:
        ValueError: it is not an IP address.
    """
    ip = _unwrapped(ip_address(address.partition("%")[0]))
    if ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return Network.FORBIDDEN
    if ip.is_loopback:
        return Network.LOOPBACK
    if any(ip in network for network in _NOBODYS):
        return Network.FORBIDDEN
    if ip.is_global and (ip.version == 4 or ip in _ROUTED):
        return Network.PUBLIC
    # 240.0.0.0/4 is "private" to ipaddress, and nobody's.
    return Network.FORBIDDEN if ip.is_reserved else Network.PRIVATE


def _unwrapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # IPv6 forms that lead to an IPv4 address are judged by that address.
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


@lru_cache(maxsize=64)  # asked for at every call
def is_local(host: str) -> bool:
    """Returns whether a host name or IP address refers to this machine."""
    name = host.lower().rstrip(".")
    try:
        return network_of(name) is Network.LOOPBACK
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
