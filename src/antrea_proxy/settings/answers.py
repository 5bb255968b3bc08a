"""Asks the file for one key at a time: its value where it is good, else the default and a problem."""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar
from urllib.parse import urlsplit

from antrea_proxy.settings import defaults
from antrea_proxy.settings.given_keys import Given, GivenKeys
from antrea_proxy.settings.problems import Problem
from antrea_proxy.settings.values import ListenAddress, Network, SkipServices

_T = TypeVar("_T")
_D = TypeVar("_D")
_Choice = TypeVar("_Choice", bound=enum.StrEnum)

# RFC 1123 labels and Service names, as the API server checks them (apimachinery's validation package).
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


class Unfit(ValueError):  # noqa: N818  # never leaves the room; its two texts become a Problem
    """A value that has the right type and cannot be used: why, and what to write instead."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Typed reading of the given keys; what does not fit is added to `given.problems`."""

    given: GivenKeys

    def flag(self, path: str, *, default: bool) -> bool:
        """Read true or false."""
        found = self.given.values.get(path)
        return default if found is None else found.value is True

    def number(self, path: str, default: int, *, at_least: int, at_most: int) -> int:
        """Read a whole number within bounds; 0 means the default."""
        found = self.given.values.get(path)
        if found is None or not isinstance(found.value, int) or found.value == 0:
            return default
        if not at_least <= found.value <= at_most:
            self._refuse(
                path, found, Unfit(f"it must be {at_least} to {at_most}", "write a number of that range, or 0")
            )
            return default
        return found.value

    def choice(self, path: str, default: _Choice, choices: type[_Choice]) -> _Choice:
        """Read one of a few words; their case does not matter."""

        def choose(text: str) -> _Choice:
            for member in choices:
                if member.value.casefold() == text.casefold():
                    return member
            words = ", ".join(member.value for member in choices)
            raise Unfit("it is none of the values that this key can have", f"write one of: {words}")

        return self.as_written(path, default, choose)

    def as_written(self, path: str, default: _D, read: Callable[[str], _T]) -> _T | _D:
        """Read a string by a function that raises Unfit; the empty string means the default."""
        found = self.given.values.get(path)
        return default if found is None or not found.value else self._fit(path, found, read, default)

    def each(self, path: str, read: Callable[[str], _T]) -> tuple[_T, ...]:
        """Read a list of strings, each by a function that raises Unfit; what does not fit is left out."""
        found = self.given.values.get(path)
        if found is None or not isinstance(found.value, tuple):
            return ()
        read_items = [self._fit(f"{path}[{index}]", item, read, None) for index, item in enumerate(found.value)]
        return tuple(item for item in read_items if item is not None)

    def _fit(self, path: str, found: Given, read: Callable[[str], _T], default: _D) -> _T | _D:
        try:
            return read(str(found.value))
        except Unfit as unfit:
            self._refuse(path, found, unfit)
            return default

    def _refuse(self, path: str, found: Given, unfit: Unfit) -> None:
        self.given.problems.append(
            Problem(path=path, value=found.shown, reason=unfit.reason, remedy=unfit.remedy, line=found.line)
        )


def interface_name(text: str) -> str:
    """Accept what Linux accepts as the name of an interface (dev_valid_name in net/core/dev.c)."""
    too_long = len(text.encode()) > defaults.INTERFACE_NAME_MAX
    if too_long or text in {".", ".."} or any(sign in "/:" or sign.isspace() for sign in text):
        raise Unfit(
            "it cannot be the name of a network interface",
            f"write 1 to {defaults.INTERFACE_NAME_MAX} characters without spaces, slashes and colons",
        )
    return text


def absolute_path(text: str) -> str:
    """Accept an absolute path; returns it without a trailing slash."""
    if not text.startswith("/") or "\0" in text:
        raise Unfit("it is not an absolute path", "write a path that starts with /")
    return text.rstrip("/") or "/"


def socket_path(text: str) -> str:
    """Accept an absolute path that a Unix socket can have."""
    path = absolute_path(text)
    if len(path.encode()) > defaults.SOCKET_PATH_MAX:
        raise Unfit(
            "it is too long for a Unix socket",
            f"write a path of at most {defaults.SOCKET_PATH_MAX} bytes (sun_path of linux/un.h)",
        )
    return path


def network(text: str) -> Network:
    """Accept a CIDR of either family; bits to the right of the prefix are dropped, as Go's ParseCIDR does."""
    try:
        if "/" not in text:
            raise ValueError(text)  # noqa: TRY301  # a bare address is refused like any other text
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Unfit("it is no CIDR", "write address/prefix-length, such as 192.168.0.0/16 or fd00::/64") from error


def ipv4_network(text: str) -> IPv4Network:
    """Accept an IPv4 CIDR."""
    found = network(text)
    if not isinstance(found, IPv4Network):
        raise Unfit("it is an IPv6 CIDR where an IPv4 one belongs", "write it as serviceCIDRv6")
    return found


def ipv6_network(text: str) -> IPv6Network:
    """Accept an IPv6 CIDR."""
    found = network(text)
    if not isinstance(found, IPv6Network):
        raise Unfit("it is an IPv4 CIDR where an IPv6 one belongs", "write it as serviceCIDR")
    return found


def label_value(text: str) -> str:
    """Accept what Kubernetes accepts as the value of a label."""
    if len(text) > defaults.LABEL_VALUE_MAX or not _LABEL_VALUE.fullmatch(text):
        raise Unfit(
            "no label of a Service can have this value, so no Service would be proxied",
            f"write at most {defaults.LABEL_VALUE_MAX} letters, digits, '-', '_' and '.', none of the signs at an end",
        )
    return text


def skipped_service(text: str) -> tuple[str, str] | IPv4Address | IPv6Address:
    """Accept `namespace/name` or a ClusterIP; anything else could not match any Service."""
    remedy = "write namespace/name, such as kube-system/kube-dns, or one ClusterIP"
    if "/" not in text:
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise Unfit("it is neither namespace/name nor an address, so it matches no Service", remedy) from error
        return _cluster_ip(address, remedy)
    namespace, _, name = text.partition("/")
    if not (_DNS_LABEL.fullmatch(namespace) and _DNS_LABEL.fullmatch(name)):
        raise Unfit("no Service can have this namespace and name (RFC 1123 labels)", remedy)
    return namespace, name


def _cluster_ip(address: IPv4Address | IPv6Address, remedy: str) -> IPv4Address | IPv6Address:
    """Accept what a ClusterIP can be; an IPv4 address that is written as IPv6 (RFC 4291 section 2.5.5.2) is IPv4."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise Unfit("no ClusterIP has a zone", remedy)
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        raise Unfit("no Service can have this ClusterIP", remedy)
    return address


def skip_services(entries: Iterable[tuple[str, str] | IPv4Address | IPv6Address]) -> SkipServices:
    """Part the entries into names and addresses."""
    both = tuple(entries)
    return SkipServices(
        names=frozenset(entry for entry in both if isinstance(entry, tuple)),
        cluster_ips=frozenset(entry for entry in both if not isinstance(entry, tuple)),
    )


def listen_address(text: str) -> ListenAddress:
    """Accept `address:port`, IPv6 in brackets, the address of all interfaces where it is left out."""
    remedy = f"write address:port, such as {defaults.HEALTH_CHECK_HOST}:{defaults.HEALTH_CHECK_PORT} or [::]:10256"
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    address = host[1:-1] if bracketed else host or defaults.HEALTH_CHECK_HOST
    try:
        is_ipv6 = isinstance(ipaddress.ip_address(address), IPv6Address)
    except ValueError as error:
        raise Unfit("it is no address and port", remedy) from error
    if not colon or bracketed is not is_ipv6:
        raise Unfit("it is no address and port", remedy)
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= defaults.PORT_MAX):
        raise Unfit(f"its port is not 1 to {defaults.PORT_MAX}", remedy)
    return ListenAddress(host=address, port=int(port))


def server_url(text: str) -> str:
    """Accept a host, host:port or URL, as Antrea does; returns a URL, https where no scheme was written."""
    remedy = "write a URL such as https://192.168.0.10:6443"
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname is not None and parts.port != 0
    except ValueError as error:
        raise Unfit(f"it is no URL of an API server ({error})", remedy) from error
    if not usable or any(sign.isspace() for sign in url) or parts.query or parts.fragment or parts.username:
        raise Unfit("it is no URL of an API server", remedy)
    return url.rstrip("/")
