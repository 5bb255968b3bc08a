"""Addresses as this project gives them out: the gateway's, and the MAC that follows from an IP address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, ip_address

from antrea_proxy.network.values import IPAddress, IPInterface, IPNetwork

_LOCALLY_ADMINISTERED = b"\x0a\x58"
"""The first two bytes of our MACs: unicast, locally administered (IEEE 802 section 8.4), as CNI plugins use them."""


def mac_of(address: IPAddress) -> str:
    """Return the MAC of a gateway or a Pod: `0a:58`, then the last four bytes of its address."""
    return (_LOCALLY_ADMINISTERED + address.packed[-4:]).hex(":")


def gateway_interface(cidr: IPNetwork) -> IPInterface:
    """Return the gateway's address within a podCIDR, its first, with the prefix length of the CIDR.

    A podCIDR has at least two addresses besides (pod_cidr in nodes.py sees to that).
    """
    if isinstance(cidr, IPv4Network):
        return IPv4Interface((cidr.network_address + 1, cidr.prefixlen))
    return IPv6Interface((cidr.network_address + 1, cidr.prefixlen))


def one_of_each_family(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    """Return the first address of each family, IPv4 first."""
    first: dict[int, IPAddress] = {}
    for address in addresses:
        first.setdefault(address.version, address)
    return tuple(first[version] for version in sorted(first))


def of_family(version: int, addresses: Iterable[IPAddress]) -> IPAddress | None:
    """Return the first address of IP version 4 or 6."""
    return next((address for address in addresses if address.version == version), None)


def parse_unicast(text: str) -> IPAddress:
    """Read an address that a Node can have.

    Raises ValueError saying what else it is.
    """
    address = ip_address(text.strip())
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        raise ValueError("a Node cannot be reached at an unspecified, multicast or loopback address")
    return address
