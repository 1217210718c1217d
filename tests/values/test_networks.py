"""Which addresses a result may be fetched from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainhub_async.networks import Network, is_local, network_of

PUBLIC, LOOPBACK, PRIVATE, FORBIDDEN = Network

IPV4 = {
    # RFC 6890's registry of special purposes, first and last of each.
    "0.0.0.0": FORBIDDEN, "0.1.2.3": FORBIDDEN, "0.255.255.255": FORBIDDEN,
    "10.0.0.0": PRIVATE, "10.255.255.255": PRIVATE,
    "100.64.0.0": PRIVATE, "100.127.255.255": PRIVATE,
    "127.0.0.1": LOOPBACK, "127.255.255.255": LOOPBACK,
    "169.254.0.0": FORBIDDEN, "169.254.169.254": FORBIDDEN, "169.254.170.2": FORBIDDEN,
    "172.16.0.0": PRIVATE, "172.31.255.255": PRIVATE,
    "192.0.0.1": FORBIDDEN, "192.0.0.192": FORBIDDEN, "192.0.2.1": PRIVATE,
    "192.168.0.0": PRIVATE, "192.168.255.255": PRIVATE,
    "198.18.0.0": PRIVATE, "198.19.255.255": PRIVATE,
    "198.51.100.1": PRIVATE, "203.0.113.1": PRIVATE,
    "224.0.0.1": FORBIDDEN, "239.255.255.255": FORBIDDEN,
    "240.0.0.0": FORBIDDEN, "255.255.255.255": FORBIDDEN,
    # Where clouds answer with the machine's credentials.
    "100.100.100.200": FORBIDDEN, "168.63.129.16": FORBIDDEN,
    # Their neighbours.
    "9.255.255.255": PUBLIC, "11.0.0.0": PUBLIC, "100.63.255.255": PUBLIC, "100.128.0.0": PUBLIC,
    "128.0.0.1": PUBLIC, "169.253.255.255": PUBLIC, "169.255.0.0": PUBLIC,
    "172.15.255.255": PUBLIC, "172.32.0.0": PUBLIC, "192.167.255.255": PUBLIC,
    "192.169.0.0": PUBLIC, "198.17.255.255": PUBLIC, "198.20.0.0": PUBLIC,
    "223.255.255.255": PUBLIC, "8.8.8.8": PUBLIC, "168.63.129.17": PUBLIC,
}  # fmt: skip
IPV6 = {
    "::": FORBIDDEN, "::1": LOOPBACK, "::2": FORBIDDEN,
    "::127.0.0.1": FORBIDDEN, "::10.0.0.1": FORBIDDEN,
    "::ffff:0:127.0.0.1": FORBIDDEN,
    "64:ff9b:1::7f00:1": FORBIDDEN,
    "100::1": FORBIDDEN,
    "2001::1": PRIVATE, "2001:db8::1": PRIVATE,
    "3fff::1": FORBIDDEN,
    "fc00::1": PRIVATE, "fd12:3456::1": PRIVATE,
    "fd00:ec2::254": FORBIDDEN, "fd20:ce::254": FORBIDDEN,
    "fe80::1": FORBIDDEN, "fe80::1%eth0": FORBIDDEN, "febf::1": FORBIDDEN,
    "fec0::1": PRIVATE,
    "ff02::1": FORBIDDEN, "ff0e::1": FORBIDDEN,
    "::1%lo": LOOPBACK,
    "2606:4700::1111": PUBLIC, "2a00:1450:4001::200e": PUBLIC, "2606:4700::1111%eth0": PUBLIC,
}  # fmt: skip


@pytest.mark.parametrize("address", [*IPV4, *IPV6])
def test_special_addresses(address: str) -> None:
    """First and last of every special range, and what lies beside it."""
    assert network_of(address) is {**IPV4, **IPV6}[address]


@pytest.mark.parametrize("address", IPV4)
def test_addresses_inside_addresses(address: str) -> None:
    """What leads to an IPv4 address is judged by it: mapped, NAT64, 6to4, with a zone or not."""
    six_to_four = IPv6Address((0x2002 << 112) | (int(IPv4Address(address)) << 80) | 1)
    for inside in (f"::ffff:{address}", f"64:ff9b::{address}", str(six_to_four)):
        assert network_of(inside) is IPV4[address]
        assert network_of(f"{inside}%1") is IPV4[address]


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "2130706433", "0x7f.1", "1.2.3.4.5", "[::1]", "::1::"]
)
def test_what_is_no_address(text: str) -> None:
    """Told apart from those that are."""
    with pytest.raises(ValueError, match="address"):
        network_of(text)


@given(st.ip_addresses(v=6))
def test_public_ipv6_is_what_is_routed(address: IPv6Address) -> None:
    """RFC 4291: nothing outside 2000::/3 is anybody's, except as a way to IPv4."""
    if network_of(str(address)) is PUBLIC:
        leads_on = address.ipv4_mapped or address in ip_network("64:ff9b::/96")
        assert leads_on or address in ip_network("2000::/3")


@given(st.ip_addresses())
def test_every_address_has_a_network(address: IPv4Address | IPv6Address) -> None:
    """And nothing the standard library knows as private or local is public."""
    network = network_of(str(address))
    if address.is_private or address.is_loopback or address.is_link_local or address.is_multicast:
        inside = isinstance(address, IPv6Address) and (address.ipv4_mapped or address.sixtofour)
        assert network is not PUBLIC or inside


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("LOCALHOST", True), ("localhost.", True), ("x.localhost", True),
        ("127.0.0.1.", True), ("LocalHost..", True), ("10.0.0.1.", False),
        ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("notlocalhost", False), ("localhost.example", False), ("10.0.0.1", False),
        ("example.com", False), ("", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_what_means_this_machine(host: str, local: bool) -> None:
    """By address, or by the name that RFC 6761 keeps for it."""
    assert is_local(host) is local
