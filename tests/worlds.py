"""A Node of a small cluster, compiled: Pods here and on a peer, and Services of every outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from types import MappingProxyType
from typing import Any

import msgspec

from antrea_proxy.agent.status import AgentStatus, Phase, SourceReport, SwitchReport
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from antrea_proxy.network.interfaces import OfPort, PodInterface
from antrea_proxy.network.values import Gateway, Network, Peer, Tunnel, Via
from antrea_proxy.openflow import fields
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.layout import mac_number
from antrea_proxy.pipeline.packets import TCP_SYN, Packet
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.pipeline.units import Owner, Unit
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName, desired_load_balancers
from antrea_proxy.proxy.problems import Problem
from antrea_proxy.proxy.service_ports import USUAL
from antrea_proxy.settings import TunnelType

GATEWAY_MAC = "0a:58:0a:0a:01:01"
PEER_ADDRESS = IPv4Address("172.16.0.2")


def pod(name: str, number: int, *, ipv6: bool = True) -> PodInterface:
    """The Pod default/`name` on this Node, with the addresses 10.10.1.`number` and fd00:10:1::`number`."""
    return PodInterface(
        namespace="default",
        name=name,
        container_id=f"{number:x}" * 8,
        netns=f"/run/netns/{name}",
        interface="eth0",
        host_interface=f"veth{number}",
        ofport=OfPort(16 + number),
        mac=f"0a:58:0a:0a:01:{number:02x}",
        ipv4=IPv4Address(f"10.10.1.{number}"),
        ipv6=IPv6Address(f"fd00:10:1::{number:x}") if ipv6 else None,
    )


CLIENT = pod("client", 5)
WEB_0 = pod("web-0", 6)
PODS = (CLIENT, WEB_0)
WEB_1, WEB_2 = "10.10.2.7", "10.10.2.8"


def network(pods: Sequence[PodInterface] = PODS, *, via: Via = Via.TUNNEL) -> Network:
    """node-1, whose peer is node-2."""
    cidrs = (IPv4Network("10.10.1.0/24"), IPv6Network("fd00:10:1::/64"))
    peer_cidrs = (IPv4Network("10.10.2.0/24"), IPv6Network("fd00:10:2::/64"))
    tunnelled = via is Via.TUNNEL
    return Network(
        node_name="node-1",
        pod_cidrs=cidrs,
        gateway=Gateway(
            name="antrea-gw0",
            mac=GATEWAY_MAC,
            addresses=(IPv4Interface("10.10.1.1/24"), IPv6Interface("fd00:10:1::1/64")),
        ),
        mtu=1450,
        node_addresses=(IPv4Address("172.16.0.1"),),
        transport_addresses=(IPv4Address("172.16.0.1"),),
        tunnel=Tunnel(type=TunnelType.GENEVE, port=6081) if tunnelled else None,
        peers=(
            Peer(
                name="node-2",
                via=via,
                pod_cidrs=peer_cidrs,
                node_addresses=(PEER_ADDRESS,),
                tunnel_address=PEER_ADDRESS if tunnelled else None,
                next_hops=(PEER_ADDRESS,),
            ),
        ),
        masquerade=True,
        cluster_pod_cidrs=(*cidrs, *peer_cidrs),
        pods=tuple(pods),
        problems=(),
    )


def service(name: str, *addresses: str, ports: Sequence[tuple[str, str, int]] = (("", "TCP", 80),), **spec: Any) -> Any:  # noqa: ANN401 - JSON
    """A Service of the namespace default as JSON; `ports` are (name, protocol, number)."""
    given = [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports]
    return {
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": addresses[0], "clusterIPs": addresses, "ports": given, **spec},
    }


def endpoint_slice(
    name: str,
    *endpoints: tuple[str, str, str] | tuple[str, str, str, dict[str, bool]],
    ports: Sequence[tuple[str, str, int]] = (("", "TCP", 8080),),
    family: str = "IPv4",
) -> Any:  # noqa: ANN401 - JSON
    """An EndpointSlice of the Service `name` as JSON; endpoints are (address, Pod, Node, conditions)."""
    return {
        "metadata": {
            "name": f"{name}-{family.lower()}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": family,
        "endpoints": [
            {
                "addresses": [address],
                "nodeName": node,
                "conditions": rest[0] if rest else {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": "default", "name": target},
            }
            for address, target, node, *rest in endpoints
        ],
        "ports": [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports],
    }


SERVICES = (
    service("web", "10.96.0.10", "fd00:96::10", ports=(("http", "TCP", 80), ("dns", "UDP", 53))),
    service("single", "10.96.0.11"),
    service("empty", "10.96.0.12"),
    service("local", "10.96.0.13", internalTrafficPolicy="Local"),
    service("self", "10.96.0.14"),
    service("headless", "None"),
    service("broken", "10.96.0.15", ports=(("", "TCP", 70000),)),
)
_WEB_PORTS = (("http", "TCP", 8080), ("dns", "UDP", 5353))
SLICES = (
    endpoint_slice(
        "web",
        ("10.10.1.6", "web-0", "node-1"),
        (WEB_1, "web-1", "node-2"),
        (WEB_2, "web-2", "node-2"),
        ("10.10.2.9", "web-3", "node-2", {"ready": False}),
        ports=_WEB_PORTS,
    ),
    endpoint_slice(
        "web",
        ("fd00:10:1::6", "web-0", "node-1"),
        ("fd00:10:2::7", "web-1", "node-2"),
        ports=_WEB_PORTS,
        family="IPv6",
    ),
    endpoint_slice("single", (WEB_1, "web-1", "node-2")),
    endpoint_slice("local", (WEB_1, "web-1", "node-2")),
    endpoint_slice("self", ("10.10.1.5", "client", "node-1")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that the agent of node-1 knows."""

    network: Network
    units: Mapping[Owner, Unit]
    load_balancers: Mapping[LoadBalancerName, LoadBalancer]
    left_alone: Mapping[NamespacedName, str]
    problems: Mapping[NamespacedName, tuple[Problem, ...]]

    def status(self, **changes: Any) -> AgentStatus:  # noqa: ANN401 - any field of AgentStatus
        """What an agent that runs publishes of this world."""
        given: dict[str, Any] = {
            "node_name": "node-1",
            "version": "0.1.0",
            "started_at": 1_000_000.0,
            "phase": Phase.RUNNING,
            "sources": (SourceReport(kind="services", synced=True, connected_since=1_000_001.0),),
            "switch": SwitchReport(connected=True, bridge="br-int", datapath_type="netdev", ovs_version="3.1.0"),
            "network": self.network,
            "load_balancers": self.load_balancers,
            "left_alone": self.left_alone,
            "service_problems": self.problems,
            "installed": self.units,
        }
        return AgentStatus(**(given | changes))


def world(
    services: Sequence[Any] = SERVICES,
    slices: Sequence[Any] = SLICES,
    *,
    net: Network | None = None,
    rules: Rules = USUAL,
) -> World:
    """Decide and compile these objects for node-1."""
    net = net or network()
    cluster = ClusterState()
    cluster.list_services(msgspec.convert(list(services), list[Service]))
    cluster.list_slices(msgspec.convert(list(slices), list[EndpointSlice]))
    decided = desired_load_balancers(cluster, list(cluster.services), node_name=net.node_name, rules=rules)
    ids: GroupIds[LoadBalancerName] = GroupIds()
    return World(
        network=net,
        units=MappingProxyType(compile_network(net) | compile_services(decided, ids)),
        load_balancers=MappingProxyType({item.name: item for item in decided}),
        left_alone=MappingProxyType(
            {name: item.left_alone for name, item in decided.services.items() if item.left_alone}
        ),
        problems=MappingProxyType({name: item.problems for name, item in decided.services.items() if item.problems}),
    )


WORLD = world()
"""The usual world."""


def packet(  # the words of a packet, in their usual order
    source: PodInterface,
    destination: str,
    port: int = 80,
    *,
    protocol: int = fields.IP_PROTO_TCP,
    source_port: int = 40000,
    tcp_flags: int = TCP_SYN,
) -> Packet:
    """The first packet of a connection of a Pod."""
    six = ":" in destination
    address = source.ipv6 if six else source.ipv4
    assert address is not None
    return Packet(
        in_port=source.ofport,
        eth_src=mac_number(source.mac),
        eth_dst=mac_number(GATEWAY_MAC),
        eth_type=fields.ETH_TYPE_IPV6 if six else fields.ETH_TYPE_IPV4,
        source=address,
        destination=IPv6Address(destination) if six else IPv4Address(destination),
        protocol=protocol,
        source_port=source_port,
        destination_port=port,
        tcp_flags=tcp_flags if protocol == fields.IP_PROTO_TCP else 0,
    )
