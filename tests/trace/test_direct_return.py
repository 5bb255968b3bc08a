"""Direct server return through the compiled tables of several Nodes: who has a connection, who is asked about one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service
from antrea_proxy.network.values import Network, Peer, ServiceEntry, Via
from antrea_proxy.openflow import fields
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.connections import Connections
from antrea_proxy.pipeline.direct_slots import MOST_FORMER, Histories
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.layout import GATEWAY_PORT, TUNNEL_PORT, mac_number
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_SYN, Packet
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.pipeline.walk import walk
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.load_balancers import LoadBalancerName, desired_load_balancers
from antrea_proxy.settings import LoadBalancerMode
from worlds import GATEWAY_MAC, endpoint_slice, network, service

NAMES = [f"node-{number}" for number in range(1, 6)]
ADDRESS = "172.31.0.1"
CLIENT = "172.18.0.101"
RULES = Rules(proxy_all=True, direct_return=True, default_mode=LoadBalancerMode.DSR)
PORTS = range(40000, 40128, 2)
"""As Linux chooses them, of one parity: one for each of 64 slots."""


def tunnel_address(name: str) -> IPv4Address:
    return IPv4Address(f"172.19.0.{name[-1]}")


def network_of(name: str) -> Network:
    """What a Node is joined by to all others."""
    peers = tuple(
        Peer(
            name=other,
            via=Via.TUNNEL,
            pod_cidrs=(IPv4Network(f"10.10.{other[-1]}.0/24"),),
            node_addresses=(tunnel_address(other),),
            tunnel_address=tunnel_address(other),
            next_hops=(),
        )
        for other in NAMES
        if other != name
    )
    usual = network(pods=())
    gateway = replace(usual.gateway, addresses=(IPv4Interface(f"10.10.{name[-1]}.1/24"),))
    own = (IPv4Network(f"10.10.{name[-1]}.0/24"),)
    entry = ServiceEntry(local_addresses=(), node_port_addresses=(), localhost=False)
    return replace(
        usual,
        node_name=name,
        pod_cidrs=own,
        gateway=gateway,
        peers=peers,
        service_entry=entry,
        direct_return=True,
    )


def object_of(name: str) -> Any:  # noqa: ANN401 - JSON
    return {"metadata": {"name": name}, "spec": {}, "status": {}}


@dataclass(slots=True)
class Agents:
    """All Nodes' agents, each with its own memory, and what their switches hold and their trackers know."""

    histories: Mapping[str, Histories[LoadBalancerName]] = field(
        default_factory=lambda: {name: Histories() for name in NAMES}
    )
    ids: Mapping[str, GroupIds[LoadBalancerName]] = field(default_factory=lambda: {name: GroupIds() for name in NAMES})
    tables: dict[str, CompiledTables] = field(default_factory=dict)
    known: dict[str, Connections] = field(default_factory=lambda: dict.fromkeys(NAMES, Connections()))

    def see(self, *nodes: str, only: Sequence[str] = NAMES) -> None:
        """Agents learn that one endpoint is on each of these Nodes."""
        made = service("web", "10.96.0.10", ports=(("", "TCP", 80), ("dns", "UDP", 80)), externalIPs=[ADDRESS])
        ends = [(f"10.10.{node[-1]}.9", f"pod-{node}", node) for node in nodes]
        cluster = ClusterState()
        cluster.list_nodes(msgspec.convert([object_of(name) for name in NAMES], list[Node]))
        cluster.list_services(msgspec.convert([made], list[Service]))
        ports = (("", "TCP", 8080), ("dns", "UDP", 8080))
        cluster.list_slices(msgspec.convert([endpoint_slice("web", *ends, ports=ports)], list[EndpointSlice]))
        for name in only:
            decided = desired_load_balancers(cluster, list(cluster.services), node_name=name, rules=RULES)
            units = compile_services(decided, self.ids[name], self.histories[name])
            self.tables[name] = CompiledTables(compile_network(network_of(name)) | units)

    def send(self, packet: Packet, ingress: str) -> tuple[list[str], str]:
        """Send a packet of the client by way of a Node; gives the Nodes that it saw, and where it ended up."""
        node, seen = ingress, [ingress]
        while True:
            way = walk(self.tables[node], packet, connections=self.known[node])
            self.known[node] = way.connections
            if not way.sent:
                return seen, "nowhere"
            (one,) = way.sent
            if one.packet.destination != IPv4Address(ADDRESS):
                return seen, str(one.packet.destination)
            assert one.port == TUNNEL_PORT, f"{node} sent it out of port {one.port}"
            assert one.packet.tunnel_destination is not None
            node = f"node-{int(one.packet.tunnel_destination) & 0xFF}"
            packet = replace(one.packet, in_port=TUNNEL_PORT)
            seen.append(node)
            assert len(seen) <= len(NAMES) + MOST_FORMER, f"it goes round: {seen}"


def from_client(port: int, *, flags: int = TCP_SYN, protocol: int = fields.IP_PROTO_TCP) -> Packet:
    return Packet(
        in_port=GATEWAY_PORT,
        eth_src=mac_number(GATEWAY_MAC),
        eth_dst=mac_number(GATEWAY_MAC),
        eth_type=fields.ETH_TYPE_IPV4,
        source=IPv4Address(CLIENT),
        destination=IPv4Address(ADDRESS),
        protocol=protocol,
        source_port=port,
        destination_port=80,
        tcp_flags=flags if protocol == fields.IP_PROTO_TCP else 0,
    )


def end_on(node: str) -> str:
    """The endpoint of a Node."""
    return f"10.10.{node[-1]}.9"


@pytest.mark.parametrize("protocol", [fields.IP_PROTO_TCP, fields.IP_PROTO_UDP], ids=["TCP", "UDP"])
def test_a_connection_has_the_same_endpoint_by_way_of_every_node_and_each_node_has_its_share(protocol: int) -> None:
    agents = Agents()
    agents.see("node-1", "node-2", "node-3")
    ends: list[str] = []
    for port in PORTS:
        found = {agents.send(from_client(port, protocol=protocol), ingress)[1] for ingress in NAMES}
        assert len(found) == 1, f"from port {port} to {found}"
        ends += found
    assert set(ends) == {end_on(node) for node in ("node-1", "node-2", "node-3")}
    assert min(ends.count(end) for end in set(ends)) > len(PORTS) / 6  # a third is fair


def test_a_packet_sees_no_more_nodes_than_the_one_it_came_by_and_the_one_that_has_it() -> None:
    agents = Agents()
    agents.see("node-1", "node-2", "node-3")
    for port in PORTS:
        for ingress in NAMES:
            seen, end = agents.send(from_client(port), ingress)
            assert end == end_on(seen[-1])
            assert len(seen) == (1 if seen[-1] == ingress else 2)


def test_a_connection_stays_at_its_endpoint_through_changes_of_nodes_whatever_node_it_comes_by() -> None:
    """Pieces in the middle of it, as they come after each change; SYNs of new ones go to the new owners."""
    agents = Agents()
    agents.see("node-1", "node-2")
    began = {port: agents.send(from_client(port), "node-5")[1] for port in PORTS}
    for more in (("node-3",), ("node-3", "node-4"), ("node-4",)):
        agents.see("node-1", "node-2", *more)
        for port, end in began.items():
            for ingress in NAMES:
                seen, found = agents.send(from_client(port, flags=TCP_ACK), ingress)
                assert found == end, f"from port {port}, begun at {end}, by way of {seen} after {more}"


def test_a_segment_that_nobody_knows_is_asked_about_once_at_each_former_owner_and_then_ends() -> None:
    agents = Agents()
    for nodes in (("node-1", "node-2"), ("node-2", "node-3"), ("node-3", "node-4"), ("node-1", "node-4")):
        agents.see(*nodes)
    longest = 0
    for port in PORTS:
        for ingress in NAMES:
            seen, _ = agents.send(from_client(port, flags=TCP_ACK), ingress)
            asked = seen[1:] if seen[0] == ingress and seen.count(ingress) > 1 else seen
            assert len(asked) == len(set(asked)), f"from port {port}: {seen}"
            longest = max(longest, len(asked))
    assert longest > 2, "nobody was asked"


@pytest.mark.parametrize("late", NAMES)
def test_an_agent_that_has_not_heard_of_a_change_yet_breaks_no_connection(late: str) -> None:
    agents = Agents()
    agents.see("node-1", "node-2")
    began = {port: agents.send(from_client(port), "node-5")[1] for port in PORTS}
    agents.see("node-1", "node-2", "node-3", only=[name for name in NAMES if name != late])
    for port, end in began.items():
        for ingress in NAMES:
            seen, found = agents.send(from_client(port, flags=TCP_ACK), ingress)
            assert found == end, f"from port {port}, begun at {end}, by way of {seen}"
