"""Checks of the Node's network stack: settings, MTU, routes, listeners, kernel modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from antrea_proxy.doctor.facts import AgentFacts, Facts
from antrea_proxy.doctor.findings import Finding, Severity
from antrea_proxy.host.facts import CONNTRACK_MAX, IP_FORWARD, IPV6_FORWARDING, FoundRoute, Listener, rp_filter
from antrea_proxy.network.mtu import encapsulation_overhead
from antrea_proxy.network.values import REFUSAL_PORT
from antrea_proxy.settings import DatapathType

_STRICT: Final = "1"  # ip-sysctl.rst, rp_filter


def forwarding(facts: Facts) -> Iterator[Finding]:
    """Packets between Pods and the outside pass through the Node's own stack."""
    families = _families(facts)
    for family, key in ((4, IP_FORWARD), (6, IPV6_FORWARDING)):
        if family in families and facts.node.sysctls.get(key) == "0":
            dotted = key.replace("/", ".")
            yield Finding(
                check="forwarding",
                severity=Severity.ERROR,
                what=f"IPv{family} forwarding is off ({dotted} = 0): no packet passes between Pods and other hosts",
                mend=f"sysctl -w {dotted}=1, and find what turns it off (sysctl.d, a firewall's service)",
            )


def reverse_path(facts: Facts) -> Iterator[Finding]:
    """Strict reverse-path filtering drops packets that come from where the Node would not answer to."""
    values = facts.node.sysctls
    for interface in (facts.settings.host_gateway, *(uplink.name for uplink in facts.node.uplinks)):
        own = values.get(rp_filter(interface))
        if own is None or max(own, values.get(rp_filter("all"), "0")) != _STRICT:
            continue
        yield Finding(
            check="rp_filter",
            severity=Severity.ERROR if interface == facts.settings.host_gateway else Severity.WARNING,
            what=f"reverse-path filtering is strict on {interface}: replies that take another way are dropped",
            mend=f"sysctl -w net.ipv4.conf.{interface}.rp_filter=2 (loose), and lastingly in /etc/sysctl.d",
        )


def mtu(facts: Facts) -> Iterator[Finding]:
    """A full packet of a Pod, with the tunnel's headers, must fit the uplink."""
    limit = _largest(facts)
    if limit is None or not isinstance(facts.agent, AgentFacts):
        return
    mtus, gateway = facts.node.mtus, facts.settings.host_gateway
    configured = facts.settings.default_mtu
    if mtus.get(gateway, 0) > limit:
        yield Finding(
            check="mtu",
            severity=Severity.ERROR,
            what=f"the MTU of {gateway} is {mtus[gateway]}, and the uplink leaves {limit}: large packets are lost",
            mend=f"set defaultMTU to {limit} or less, or raise the uplink's MTU"
            if configured > limit
            else f"ip link set {gateway} mtu {limit}; a running agent does it within 30 s",
        )
    for pod in facts.agent.pods:
        if mtus.get(pod.interface, 0) > limit:
            yield Finding(
                check="mtu",
                severity=Severity.WARNING,
                what=f"the MTU of Pod {pod.namespace}/{pod.name} is {mtus[pod.interface]}, and the uplink leaves "
                f"{limit}: its large packets are lost",
                mend=f"a Pod keeps the MTU that it began with: kubectl -n {pod.namespace} delete pod {pod.name}",
            )


def routes(facts: Facts) -> Iterator[Finding]:
    """A route to a peer that is gone leads its addresses, which another Node may have by now, nowhere."""
    if not isinstance(facts.agent, AgentFacts) or facts.agent.own is None:
        return
    known = [cidr for node in facts.agent.nodes for cidr in node.cidrs]
    gateway = facts.settings.host_gateway
    for route in facts.node.routes:
        if not _leads_to_a_peer(route, gateway) or route.destination in known:
            continue
        yield Finding(
            check="routes",
            severity=Severity.WARNING,
            what=f"the route {route.destination} via {route.via} dev {route.interface} leads to no Node of the cluster",
            mend=f"ip route del {route.destination} via {route.via} dev {route.interface}",
        )


def listeners(facts: Facts) -> Iterator[Finding]:
    """A program that listens on a node port gets no connection from outside: the Service has them."""
    if not isinstance(facts.agent, AgentFacts):
        return
    for service in facts.agent.services:
        ports = {Listener(protocol=port.protocol, port=port.port) for port in service.ports if port.kind == "NodePort"}
        for listener in sorted(ports & facts.node.listeners):
            yield Finding(
                check="listeners",
                severity=Severity.WARNING,
                what=f"a program listens on {listener.port}/{listener.protocol}, a node port of Service "
                f"{service.namespace}/{service.name}: it gets no connection from outside",
                mend=f"let the program have another port (ss -lnp 'sport = :{listener.port}' names it), "
                "or give the Service another nodePort",
            )


def kernel_modules(facts: Facts) -> Iterator[Finding]:
    """What the kernel must have for the datapath that is asked for, and for the Node's own translation."""
    if facts.settings.ovs_datapath_type is DatapathType.SYSTEM and not facts.node.openvswitch:
        yield Finding(
            check="modules",
            severity=Severity.ERROR,
            what="ovsDatapathType is system, and this kernel has no Open vSwitch datapath",
            mend="modprobe openvswitch (Debian: linux-image-amd64 has it), or set ovsDatapathType: auto",
        )
    if CONNTRACK_MAX not in facts.node.sysctls:
        yield Finding(
            check="modules",
            severity=Severity.ERROR,
            what="this kernel tracks no connections (nf_conntrack): the Node cannot masquerade Pods' traffic",
            mend="modprobe nf_conntrack, and name it in /etc/modules-load.d",
        )


def gateway(facts: Facts) -> Iterator[Finding]:
    """The Node's own ports of the bridge must be there."""
    for name in (facts.settings.host_gateway, REFUSAL_PORT):
        if name not in facts.node.mtus:
            yield Finding(
                check="gateway",
                severity=Severity.ERROR,
                what=f"the interface {name} is not there: Pods and Node do not reach each other through the switch",
                mend="the agent makes it: start antrea-proxy agent, and see that ovs-vswitchd runs",
            )


def _leads_to_a_peer(route: FoundRoute, gateway: str) -> bool:
    """Whether a route is of the kind that leads to a peer's Pods.

    Through the gateway its next hop is an address of the podCIDR itself; those to Services have another, and lead to
    single addresses. Without encapsulation it leads to the peer by an uplink, and bears our mark.
    """
    if route.interface == gateway:
        return route.destination.num_addresses > 1 and route.via in route.destination
    return route.ours


def _families(facts: Facts) -> frozenset[int]:
    """The families of this Node's podCIDRs; IPv4 where they are not known."""
    if isinstance(facts.agent, AgentFacts) and facts.agent.own is not None:
        return frozenset(cidr.version for cidr in facts.agent.own.cidrs)
    return frozenset({4})


def _largest(facts: Facts) -> int | None:
    """The largest MTU that Pods may have: that of the uplinks that carry them, less the tunnel's headers."""
    if not isinstance(facts.agent, AgentFacts) or facts.agent.own is None:
        return None
    transport = facts.agent.own.transport_addresses
    carriers = [uplink.mtu for uplink in facts.node.uplinks if any(item.ip in transport for item in uplink.addresses)]
    if not carriers:
        return None
    overhead = encapsulation_overhead(facts.settings.tunnel_type, transport[0].version) if facts.tunnels else 0
    return min(carriers) - overhead
