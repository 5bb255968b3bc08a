"""Addresses, CIDRs and ports as fields; messages of k8s.io/apimachinery `pkg/util/validation`."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from antrea_proxy.lab.api_server.errors import FieldError, invalid_value

LARGEST_PORT = 65535
PROTOCOLS = ("SCTP", "TCP", "UDP")
IP_FAMILIES = ("IPv4", "IPv6")
_LINK_LOCAL_MULTICAST = (ip_network("224.0.0.0/24"), ip_network("ff02::/16"))


def is_port(value: object) -> bool:
    """Tell whether a value is a port number."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_PORT


def port_errors(path: str, value: object) -> list[FieldError]:
    """Check a port number."""
    return [] if is_port(value) else [invalid_value(path, value, f"must be between 1 and {LARGEST_PORT}, inclusive")]


def parse_address(text: object) -> IPv4Address | IPv6Address | None:
    """Read an address; None where the text is none, or has a zone."""
    return _parsed(text) if isinstance(text, str) else None


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def address_errors(path: str, text: object) -> list[FieldError]:
    """Check an address of either family."""
    if parse_address(text) is not None:
        return []
    return [invalid_value(path, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")]


def family_address_errors(path: str, text: object, family: str) -> list[FieldError]:
    """Check an address of one family, "IPv4" or "IPv6"."""
    address = parse_address(text)
    if address is not None and f"IPv{address.version}" == family:
        return []
    return [invalid_value(path, text, f"must be a valid {family} address")]


def special_address_errors(path: str, text: str) -> list[FieldError]:
    """Refuse addresses that can be no endpoint: unspecified, loopback, link-local. The text must be an address."""
    return [invalid_value(path, text, complaint) for complaint in _special_complaints(text)]


@lru_cache(maxsize=65_536)
def _special_complaints(text: str) -> tuple[str, ...]:
    address = ip_address(text)
    found = {
        f"may not be unspecified ({text})": address.is_unspecified,
        "may not be in the loopback range (127.0.0.0/8, ::1/128)": address.is_loopback,
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)": address.is_link_local,
        "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)": any(
            address in network for network in _LINK_LOCAL_MULTICAST
        ),
    }
    return tuple(complaint for complaint, applies in found.items() if applies)


def cidr_errors(path: str, text: object) -> list[FieldError]:
    """Check a range of addresses."""
    try:
        ip_network(text if isinstance(text, str) and "/" in text else "", strict=False)
    except ValueError:
        return [invalid_value(path, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")]
    return []
