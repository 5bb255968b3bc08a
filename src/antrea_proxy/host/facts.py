"""What a Node's network stack is like, as values: for those who judge it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from antrea_proxy.host.kube_proxy.plan import Plan
from antrea_proxy.network.values import IPAddress, IPNetwork, Uplink

IP_FORWARD: Final = "net/ipv4/ip_forward"
IPV6_FORWARDING: Final = "net/ipv6/conf/all/forwarding"
CONNTRACK_MAX: Final = "net/netfilter/nf_conntrack_max"
"""Each is there where the kernel has that part at all."""


def rp_filter(interface: str) -> str:
    """Name the reverse-path filter of one interface, or of `all`; the kernel takes the larger of the two."""
    return f"net/ipv4/conf/{interface}/rp_filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRule:
    """A rule that drops what the connection tracker calls invalid: where it is, and its own words."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Listener:
    """A socket that waits on a port of the Node: `protocol` is TCP or UDP."""

    protocol: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRoute:
    """A route of the main table that leads to a next hop; `ours` says that it bears our mark."""

    destination: IPNetwork
    via: IPAddress
    interface: str
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One Node's network stack at one moment.

    `sysctls` are by their path below /proc/sys, without those that the kernel does not have; `mtus` are of all links,
    in bytes; `uplinks` have a global address and are not ours. `kube_proxies` are the processes that run. `openvswitch`
    says whether the kernel has that datapath.
    """

    leftovers: Plan = field(default_factory=Plan)
    kube_proxies: tuple[str, ...] = ()
    drop_rules: tuple[DropRule, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    mtus: Mapping[str, int] = field(default_factory=dict)
    uplinks: tuple[Uplink, ...] = ()
    routes: tuple[FoundRoute, ...] = ()
    listeners: frozenset[Listener] = frozenset()
    openvswitch: bool = True
