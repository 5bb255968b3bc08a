"""Gathers the facts of the network namespace that the process is in. Changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from antrea_proxy.host import drop_rules
from antrea_proxy.host.errors import HostError
from antrea_proxy.host.facts import (
    CONNTRACK_MAX,
    IP_FORWARD,
    IPV6_FORWARDING,
    DropRule,
    Listener,
    NodeFacts,
    rp_filter,
)
from antrea_proxy.host.kube_proxy.looking import look
from antrea_proxy.host.kube_proxy.plan import Dumps, planned
from antrea_proxy.host.kube_proxy.processes import running_kube_proxies
from antrea_proxy.host.listeners import read_listeners
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.host.sysctls import read_sysctls

_PROC_NET: Final = Path("/proc/net")
_SOCKETS: Final = {"tcp": "TCP", "tcp6": "TCP", "udp": "UDP", "udp6": "UDP"}


async def node_facts(netlink: Netlink, nft: Nft, *, ours: frozenset[str], openvswitch: bool) -> NodeFacts:
    """Look at this Node; `ours` are the interfaces that the agent makes.

    Raises HostError. What kube-proxy left is told as far as it can be looked at.
    """
    dumps = await look(netlink, nft)
    try:
        leftovers = planned(dumps)
    except ValueError as error:
        raise HostError(f"what the Node's programs printed cannot be read: {error}") from error
    uplinks = await netlink.uplinks(ours)
    filters = map(rp_filter, ("all", *ours, *(uplink.name for uplink in uplinks)))
    return NodeFacts(
        leftovers=leftovers,
        kube_proxies=tuple(map(str, running_kube_proxies())),
        drop_rules=await _drop_rules(dumps, nft),
        sysctls={item.key: item.value for item in read_sysctls((IP_FORWARD, IPV6_FORWARDING, CONNTRACK_MAX, *filters))},
        mtus=await netlink.mtus(),
        uplinks=uplinks,
        routes=await netlink.next_hop_routes(),
        listeners=_listeners(),
        openvswitch=openvswitch,
    )


async def _drop_rules(dumps: Dumps, nft: Nft) -> tuple[DropRule, ...]:
    """In nft's own language: its JSON does not tell what a match of iptables' nft back end asks for."""
    found = [*drop_rules.in_ruleset(await nft.ruleset_text())] if dumps.ruleset else []
    for family, text in dumps.legacy.items():
        found += drop_rules.in_iptables_save(text, family=family)
    return tuple(found)


def _listeners() -> frozenset[Listener]:
    found: frozenset[Listener] = frozenset()
    for name, protocol in _SOCKETS.items():
        try:
            found |= read_listeners((_PROC_NET / name).read_text(), protocol)
        except FileNotFoundError:  # a kernel without IPv6
            continue
    return found
