"""What Services ask of the Node's own network stack: counted by who asks, and what it must hold then."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from antrea_proxy.host.changes import diff
from antrea_proxy.host.desired import HostState, desired_host
from antrea_proxy.host.services import Demands, External, HostServices, NodePort
from antrea_proxy.host.values import RETURN_TABLE, Rule
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.network.stand_ins import stand_ins
from antrea_proxy.network.values import Network, ServiceEntry
from antrea_proxy.proxy.frontends import Protocol, Rules
from antrea_proxy.proxy.service_ports import ServicePorts, service_ports
from worlds import network

NODE = ip_address("172.18.0.1")
ENTRY = ServiceEntry(
    local_addresses=(ip_address("172.18.0.1"), ip_address("fd00:18::1")),
    node_port_addresses=(ip_address("172.18.0.1"), ip_address("fd00:18::1")),
    localhost=True,
)
NETWORK = replace(network(()), service_entry=ENTRY)


def asking(name: str, cluster_ip: str = "10.96.0.10", **spec: object) -> dict[NamespacedName, ServicePorts]:
    """Give what a Service of port 80 asks for, by its name."""
    given: dict[str, object] = {
        "clusterIP": cluster_ip,
        "clusterIPs": [cluster_ip],
        "ports": [{"port": 80, "nodePort": 30080}],
        **spec,
    }
    service = msgspec.convert({"metadata": {"name": name, "namespace": "default"}, "spec": given}, Service)
    cluster = ClusterState()
    cluster.put_service(service)
    (key,) = cluster.services
    return {key: service_ports(key, cluster, Rules(proxy_all=True))}


def external(address: str) -> External:
    """Give TCP port 80 of an external IP."""
    return External(ip_address(address), Protocol.TCP, 80)


def gone(name: str) -> dict[NamespacedName, ServicePorts]:
    """Give what a Service asks for that is no more."""
    return {NamespacedName("default", name): ServicePorts()}


def host(services: HostServices, net: Network = NETWORK) -> HostState:
    """Give what the Node's stack must hold."""
    return desired_host(net, services, userspace_datapath=False)


def elements(state: HostState, name: str) -> frozenset[str]:
    """Give the elements of a set."""
    return next(item.elements for item in state.table.sets if item.name == name)


def test_a_service_asks_for_its_node_port_and_its_external_addresses_once() -> None:
    demands = Demands()
    assert demands.take(asking("web", externalIPs=["172.31.0.1", "172.31.0.1"]))
    assert demands.wanted == HostServices(
        node_ports=frozenset({NodePort(4, Protocol.TCP, 30080)}),
        externals=frozenset({external("172.31.0.1")}),
        cluster_ips=frozenset({ip_address("10.96.0.10")}),
        ranges=frozenset({ip_network("10.96.0.10/32")}),
    )
    assert not demands.take(asking("web", externalIPs=["172.31.0.1"]))


def test_an_address_that_two_services_share_stays_until_both_are_gone() -> None:
    demands = Demands()
    demands.take(asking("one", externalIPs=["172.31.0.1"]))
    demands.take(asking("two", "10.96.0.11", externalIPs=["172.31.0.1"]))
    demands.take(gone("one"))
    assert demands.wanted.addresses == {ip_address("172.31.0.1")}
    demands.take(gone("two"))
    assert demands.wanted == HostServices()


def test_cluster_ips_share_a_route_that_reaches_no_further_than_it_must() -> None:
    demands = Demands()
    demands.take(asking("one", "10.96.0.10") | asking("two", "10.96.0.13") | asking("far", "10.97.0.1"))
    assert demands.wanted.ranges == {ip_network("10.96.0.8/29"), ip_network("10.97.0.1/32")}
    demands.take(asking("six", "fd00:96::1") | gone("one") | gone("far"))
    assert demands.wanted.ranges == {ip_network("10.96.0.13/32"), ip_network("fd00:96::1/128")}


def test_a_change_of_one_service_changes_its_route_and_its_elements_alone() -> None:
    demands = Demands()
    demands.take(asking("one", externalIPs=["172.31.0.1"]))
    before = host(demands.wanted)
    demands.take(asking("two", "10.96.0.10", externalIPs=["172.31.0.2"], ports=[{"port": 80, "nodePort": 30081}]))
    after = host(demands.wanted)
    changes = diff(before.kernel, after.kernel)
    assert [str(route.destination) for route in changes.routes_added] == ["172.31.0.2/32"]
    assert changes == replace(type(changes)(), routes_added=changes.routes_added)
    assert elements(after, "node_ports_v4") - elements(before, "node_ports_v4") == {"tcp . 30081"}


def test_services_are_reached_through_the_virtual_next_hop_in_the_families_that_the_gateway_has() -> None:
    services = HostServices(externals=frozenset({external("172.31.0.1"), external("fd00:31::1")}))
    four = replace(NETWORK, gateway=replace(NETWORK.gateway, addresses=NETWORK.gateway.addresses[:1]))
    state = host(services, four)
    ours = {str(route.destination): str(route.via) for route in state.kernel.routes if route.table != RETURN_TABLE}
    hop = "169.254.0.253"
    wanted = {"172.31.0.1/32", f"{hop}/32", "169.254.0.252/32", f"{stand_ins(ENTRY.local_addresses)[NODE]}/32"}
    assert {to for to, via in ours.items() if via == hop} == wanted
    assert not any(":" in to for to, via in ours.items() if "aabb" in via)
    assert state.kernel.rules == {Rule(version=4)}


def test_node_ports_are_at_the_addresses_given_and_at_localhost_of_ipv4() -> None:
    state = host(HostServices())
    assert elements(state, "node_port_addresses_v4") == {"172.18.0.1", "127.0.0.1"}
    assert elements(state, "node_port_addresses_v6") == {"fd00:18::1"}
    elsewhere = replace(ENTRY, localhost=False)
    assert elements(host(HostServices(), replace(NETWORK, service_entry=elsewhere)), "node_port_addresses_v4") == {
        "172.18.0.1"
    }


@pytest.mark.parametrize("word", ["node_ports", "169.254.0.253", "mark"])
def test_without_proxy_all_the_host_holds_nothing_of_services(word: str) -> None:
    services = HostServices(externals=frozenset({external("172.31.0.1")}))
    state = host(services, replace(NETWORK, service_entry=None))
    assert word not in str(state.table)
    assert not state.kernel.rules
    assert {str(route.via) for route in state.kernel.routes} == {"10.10.2.1", "fd00:10:2::1"}


def test_an_external_ip_that_is_the_nodes_own_is_led_to_the_switch_by_its_ports_alone() -> None:
    state = host(HostServices(externals=frozenset({external("172.18.0.1")})))
    assert elements(state, "own_services_v4") == {"172.18.0.1 . tcp . 80"}
    assert "172.18.0.1/32" not in {str(route.destination) for route in state.kernel.routes}


def test_an_external_ip_that_is_another_nodes_is_left_to_that_node() -> None:
    peer = NETWORK.peers[0].node_addresses[0]
    state = host(HostServices(externals=frozenset({external(str(peer))})))
    assert f"{peer}/32" not in {str(route.destination) for route in state.kernel.routes}
    assert not elements(state, "own_services_v4")


def test_a_node_gets_along_with_more_addresses_than_there_are_stand_ins() -> None:
    given = stand_ins(ip_address(f"10.0.{number // 250}.{number % 250}") for number in range(130))
    assert len(given) == len(set(given.values())) == 124
    assert {str(item) for item in given.values()} == {f"169.254.0.{number}" for number in range(128, 252)}


def test_the_stand_in_of_an_address_stays_when_another_one_goes() -> None:
    addresses = [ip_address(f"10.0.0.{number}") for number in range(1, 6)]
    before = stand_ins(addresses)
    assert all(stand_ins(addresses[1:])[address] == before[address] for address in addresses[1:])


def test_beside_kube_proxy_the_nodes_tracker_sees_nothing_of_services_that_are_ours() -> None:
    """Those that are left to it are not among them, nor are the Node's own addresses."""
    services = HostServices(
        externals=frozenset({external("172.31.0.1"), external("172.18.0.1")}),
        cluster_ips=frozenset({ip_address("10.96.0.10")}),
        ranges=frozenset({ip_network("10.96.0.0/24")}),
    )
    state = desired_host(NETWORK, services, userspace_datapath=False, beside_kube_proxy=True)
    assert elements(state, "service_addresses_v4") == {"172.31.0.1", "10.96.0.10"}
    assert "notrack" in str(state.table.chains)
    assert "notrack" not in str(host(services).table.chains)
