"""What the Node's network stack holds, as far as it is ours: links, addresses, neighbours, routes, sysctls."""

from __future__ import annotations

from dataclasses import dataclass

from antrea_proxy.network.values import IPAddress, IPInterface, IPNetwork

PROTOCOL = 78
"""The number that marks our routes, rules and neighbours (rtnetlink(7), rtm_protocol): not in iproute2's rt_protos."""

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

RETURN_TABLE = 7_800
"""The routing table of what must go back to the switch that it came from."""

RETURN_MARK = 0x2000
"""The bit of a packet's and a connection's mark that says so: none that kube-proxy takes (0x4000, 0x8000)."""

RETURN_PRIORITY = 7_800
"""Of the rule: behind the table of the Node's own addresses (0), before the main one (32,766)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface that the switch made for us, and how it must be. `mtu` is in bytes."""

    name: str
    mac: str
    mtu: int
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address of one of our interfaces."""

    interface: str
    address: IPInterface


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A permanent entry of the neighbour table."""

    interface: str
    address: IPAddress
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route, of the main table where no other is named.

    With an interface it is `via ADDRESS dev INTERFACE onlink`. Where `interface` is None, the kernel finds it from
    the address, and which one it took does not count as a difference.
    """

    destination: IPNetwork
    via: IPAddress
    interface: str | None
    table: int = MAIN_TABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A routing rule (ip-rule(8)): packets of an IP version that bear RETURN_MARK look RETURN_TABLE up."""

    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """A kernel setting; `key` is its path below /proc/sys, so that a dot in an interface's name stays one."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelState:
    """What netlink and /proc/sys show, or should show, of what is ours."""

    links: frozenset[Link] = frozenset()
    addresses: frozenset[Address] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    sysctls: frozenset[Sysctl] = frozenset()
