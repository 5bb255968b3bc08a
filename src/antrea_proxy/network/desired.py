"""From the Node objects and the settings to this Node's place in the Pod network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from antrea_proxy.kubernetes.objects import Node
from antrea_proxy.network.addresses import gateway_interface, mac_of, of_family, one_of_each_family
from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.mtu import encapsulation_overhead
from antrea_proxy.network.nodes import POD_CIDRS, NodeClaim, read_claims
from antrea_proxy.network.values import (
    IPVS_DEVICE,
    LOCALHOST,
    Gateway,
    IPAddress,
    IPNetwork,
    Network,
    NetworkProblem,
    NetworkProblems,
    Peer,
    ServiceEntry,
    Tunnel,
    Uplink,
    Via,
)
from antrea_proxy.settings import Settings, TrafficEncapMode

_NONE_ON_UPLINK = "no interface of this Node has it; set transportInterface, or defaultMTU to go on without"


def desired_network(
    nodes: Iterable[Node],
    node_name: str,
    settings: Settings,
    uplinks: Iterable[Uplink],
    pods: Iterable[PodInterface],
) -> Network | NetworkProblems:
    """Return the network, or why this Node can have none.

    A problem of another Node leaves that Node out, or the part of it that is named, and touches no other.
    """
    uplinks = tuple(uplinks)
    claims, problems = read_claims(nodes)
    ours = claims.get(node_name)
    if ours is None or not ours.pod_cidrs:
        own = [problem for problem in problems if problem.node == node_name]
        if not any(problem.field == POD_CIDRS for problem in own):
            own.append(_missing(node_name, ours))
        return NetworkProblems(problems=tuple(own))
    transport = _transport_addresses(ours, settings, uplinks)
    if isinstance(transport, NetworkProblem):
        return NetworkProblems(problems=(transport,))
    encapsulated = settings.traffic_encap_mode is not TrafficEncapMode.NO_ENCAP
    tunnels = encapsulated or settings.direct_return
    mtu = _mtu(node_name, settings, transport, uplinks, tunnels=tunnels)
    if isinstance(mtu, NetworkProblem):
        return NetworkProblems(problems=(mtu,))
    others = [claim for claim in claims.values() if claim.name != node_name]
    peers = [_peer(claim, transport, uplinks, settings) for claim in others if claim.pod_cidrs]
    return Network(
        node_name=node_name,
        pod_cidrs=ours.pod_cidrs,
        gateway=_gateway(settings.host_gateway, ours),
        mtu=mtu,
        node_addresses=ours.node_addresses,
        transport_addresses=transport,
        tunnel=Tunnel(type=settings.tunnel_type, port=settings.tunnel_port) if tunnels else None,
        peers=tuple(sorted((peer for peer in peers if isinstance(peer, Peer)), key=lambda peer: peer.name)),
        masquerade=encapsulated or not settings.no_snat,
        cluster_pod_cidrs=_in_order(cidr for claim in claims.values() for cidr in claim.pod_cidrs),
        pods=tuple(sorted(pods, key=lambda pod: pod.host_interface)),
        problems=(
            *problems,
            *(peer for peer in peers if isinstance(peer, NetworkProblem)),
            *_unmatched(node_name, settings, uplinks),
            *_left_to_ipvs(node_name, settings, uplinks),
        ),
        service_entry=_service_entry(settings, uplinks),
        direct_return=settings.direct_return,
    )


def _service_entry(settings: Settings, uplinks: tuple[Uplink, ...]) -> ServiceEntry | None:
    """Without nodePortAddresses, NodePorts are at every address of the Node, localhost (of IPv4) included."""
    if not settings.antrea_proxy.proxy_all:
        return None
    own = (uplink for uplink in uplinks if uplink.name != IPVS_DEVICE)
    every = _in_order_of_value({item.ip for uplink in own for item in uplink.addresses})
    wanted = settings.antrea_proxy.node_port_addresses
    return ServiceEntry(
        local_addresses=every,
        node_port_addresses=tuple(ip for ip in every if not wanted or any(ip in cidr for cidr in wanted)),
        localhost=not wanted or any(LOCALHOST in cidr for cidr in wanted),
    )


def _left_to_ipvs(node_name: str, settings: Settings, uplinks: tuple[Uplink, ...]) -> Iterator[NetworkProblem]:
    if settings.antrea_proxy.proxy_all and any(uplink.name == IPVS_DEVICE for uplink in uplinks):
        yield NetworkProblem(
            node=node_name,
            field="antreaProxy.proxyAll",
            value="true",
            reason=f"kube-proxy's ipvs mode has bound Services' addresses to {IPVS_DEVICE}: from outside and from the "
            "Node itself they stay with it, but for NodePorts; run `antrea-proxy cleanup kube-proxy` once it is gone",
        )


def _unmatched(node_name: str, settings: Settings, uplinks: tuple[Uplink, ...]) -> Iterator[NetworkProblem]:
    entry = _service_entry(settings, uplinks)
    if entry is not None and not entry.node_port_addresses and not entry.localhost:
        yield NetworkProblem(
            node=node_name,
            field="antreaProxy.nodePortAddresses",
            value=",".join(map(str, settings.antrea_proxy.node_port_addresses)),
            reason="matches no address of this Node, so that no NodePort is served here; the Node has "
            + (", ".join(map(str, entry.local_addresses)) or "none"),
        )


def _missing(node_name: str, claim: NodeClaim | None) -> NetworkProblem:
    if claim is None:
        reason = "the cluster has no Node of this name; is --node-name right?"
        return NetworkProblem(node=node_name, field="metadata.name", value=node_name, reason=reason)
    reason = "the Node has no podCIDR yet; kube-controller-manager gives it one with --allocate-node-cidrs"
    return NetworkProblem(node=node_name, field=POD_CIDRS, value="", reason=reason)


def _gateway(name: str, ours: NodeClaim) -> Gateway:
    addresses = tuple(map(gateway_interface, ours.pod_cidrs))
    return Gateway(name=name, mac=mac_of(addresses[0].ip), addresses=addresses)


def _transport_addresses(
    ours: NodeClaim, settings: Settings, uplinks: tuple[Uplink, ...]
) -> tuple[IPAddress, ...] | NetworkProblem:
    """Where peers reach this Node: transportInterface, else transportInterfaceCIDRs, else its InternalIPs."""
    if settings.transport_interface:
        key, value = "transportInterface", settings.transport_interface
        found = [item.ip for uplink in uplinks if uplink.name == value for item in uplink.addresses]
    elif settings.transport_interface_cidrs:
        key, value = "transportInterfaceCIDRs", ",".join(map(str, settings.transport_interface_cidrs))
        every = (item.ip for uplink in uplinks for item in uplink.addresses)
        found = [ip for ip in every if any(ip in cidr for cidr in settings.transport_interface_cidrs)]
    else:
        key, value, found = "status.addresses", "", list(ours.transport_addresses)
    addresses = one_of_each_family(ip for ip in found if not ip.is_link_local)
    if not addresses:
        return NetworkProblem(node=ours.name, field=key, value=value, reason="gives this Node no address for its peers")
    return addresses


def _mtu(
    node_name: str,
    settings: Settings,
    transport: tuple[IPAddress, ...],
    uplinks: tuple[Uplink, ...],
    *,
    tunnels: bool,
) -> int | NetworkProblem:
    """Return the smallest of the uplinks that carry Pods, less the tunnel's headers; or defaultMTU as it is.

    Connections in DSR mode go through the tunnel without encapsulation of Pods' own, too.
    """
    if settings.default_mtu:
        return settings.default_mtu
    carriers = [uplink for uplink in uplinks if any(item.ip in transport for item in uplink.addresses)]
    if not carriers:
        value = ", ".join(map(str, transport))
        return NetworkProblem(node=node_name, field="transport address", value=value, reason=_NONE_ON_UPLINK)
    mtu = min(uplink.mtu for uplink in carriers)
    if tunnels:
        mtu -= encapsulation_overhead(settings.tunnel_type, transport[0].version)
    return mtu


def _peer(
    claim: NodeClaim, transport: tuple[IPAddress, ...], uplinks: tuple[Uplink, ...], settings: Settings
) -> Peer | NetworkProblem:
    """Return the peer. For direct server return it has a tunnel's end also where its Pods are reached by route."""
    next_hops = _next_hops(claim, transport, uplinks, settings.traffic_encap_mode)
    via = _way(claim, next_hops, settings.traffic_encap_mode)
    tunnel_address = None
    if via is Via.TUNNEL or settings.direct_return:
        # A tunnel carries both families of Pods, so one family of ends is enough; the MTU counts on its headers.
        tunnel_address = of_family(transport[0].version, claim.transport_addresses)
        if tunnel_address is None:
            value = ", ".join(map(str, claim.transport_addresses))
            reason = f"no IPv{transport[0].version} address for a tunnel from {transport[0]} to end at"
            return NetworkProblem(node=claim.name, field="status.addresses", value=value, reason=reason)
    return Peer(
        name=claim.name,
        via=via,
        pod_cidrs=claim.pod_cidrs,
        node_addresses=claim.node_addresses,
        tunnel_address=tunnel_address,
        next_hops=next_hops if via is Via.ROUTE else (),
    )


def _next_hops(
    claim: NodeClaim, transport: tuple[IPAddress, ...], uplinks: tuple[Uplink, ...], mode: TrafficEncapMode
) -> tuple[IPAddress, ...]:
    """Return the peer's addresses on a link of this Node; in hybrid mode, on one that has its transport addresses."""
    own = [item for uplink in uplinks for item in uplink.addresses]
    links = [item.network for item in own if mode is TrafficEncapMode.NO_ENCAP or item.ip in transport]
    return tuple(ip for ip in claim.transport_addresses if any(ip in link for link in links))


def _way(claim: NodeClaim, next_hops: tuple[IPAddress, ...], mode: TrafficEncapMode) -> Via:
    """In hybrid mode a peer is reached by route if it is on the same subnet with every family of its Pods."""
    if mode is TrafficEncapMode.HYBRID:
        families = {cidr.version for cidr in claim.pod_cidrs}
        return Via.ROUTE if families <= {ip.version for ip in next_hops} else Via.TUNNEL
    return Via.TUNNEL if mode is TrafficEncapMode.ENCAP else Via.ROUTE


def _in_order_of_value(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda item: (item.version, int(item))))


def _in_order(cidrs: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    return tuple(sorted(cidrs, key=lambda cidr: (cidr.version, int(cidr.network_address))))
