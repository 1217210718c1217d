"""Which network an IP address belongs to, and whether a result may be fetched from there. Pure."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Where clouds answer anyone with the machine's credentials, outside the link-local range.
_METADATA = {ip_address("100.100.100.200"), ip_address("fd00:ec2::254")}
_NAT64 = ip_network("64:ff9b::/96")


class Network(Enum):
    """What an address can reach."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    FORBIDDEN = "forbidden"
    """Link-local, metadata, multicast, unspecified, reserved: never an image's home."""


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
    if ip.is_global:
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


def is_local(host: str) -> bool:
    """Tells whether a host name or address means this machine."""
    try:
        return network_of(host) is Network.LOOPBACK
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
