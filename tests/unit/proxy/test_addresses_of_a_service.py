"""The addresses of a Service: whose they are, and who may connect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.frontends import FrontendKind, Rules
from antrea_proxy.proxy.load_balancers import LoadBalancers, desired_load_balancers


def service(name: str, cluster_ip: str, *, ingress: tuple[str, ...] = (), **spec: object) -> Service:
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"clusterIP": cluster_ip, "clusterIPs": [cluster_ip], "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in ingress]}},
    }
    return msgspec.convert(body, Service)


def decide(*services: Service) -> LoadBalancers:
    cluster = ClusterState()
    cluster.list_services(services)
    return desired_load_balancers(cluster, cluster.services, node_name="node-1", rules=Rules(proxy_all=True))


def problems(table: LoadBalancers) -> dict[str, str]:
    return {name.name: "; ".join(map(str, ports.problems)) for name, ports in table.services.items() if ports.problems}


def test_an_ipv6_address_that_is_written_in_two_ways_is_one_address() -> None:
    table = decide(
        service("a", "10.96.0.1", externalIPs=["2001:db8::1"]),
        service("b", "10.96.0.2", externalIPs=["2001:DB8:0:0::1"]),
    )
    assert problems(table) == {
        "b": "Service default/b: spec.ports[0]: 2001:DB8:0:0::1:80/TCP belongs to the older Service default/a; "
        "this port is not served: give one of them another external IP"
    }


def test_an_address_that_a_service_names_twice_counts_once_and_as_the_lower_kind() -> None:
    table = decide(service("a", "2001:db8::1", externalIPs=["2001:DB8::1", "2001:db8:0::1"]))
    (port,) = table.ports
    assert [item.kind for item in port.frontends] == [FrontendKind.CLUSTER_IP]


def test_a_node_port_is_served_in_the_families_of_the_cluster_ips() -> None:
    ports = [{"port": 80, "nodePort": 30080}]
    table = decide(service("a", "10.96.0.1", type="NodePort", ports=ports, externalIPs=["2001:db8::1"]))
    kinds = {port.family: [item.kind for item in port.frontends] for port in table.ports}
    assert kinds[4] == [FrontendKind.CLUSTER_IP, FrontendKind.NODE_PORT]
    assert kinds[6] == [FrontendKind.EXTERNAL_IP]


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["10.0.0.0/8", "10.1.0.0/16"], ["10.0.0.0/8"]),
        (["10.1.2.3/24"], ["10.1.2.0/24"]),
        ([" 10.1.0.0/16 ", "fd00::/8"], ["10.1.0.0/16"]),
        (["fd00::/8"], []),
        (["10.1.0.0/16", "0.0.0.0/0"], None),
        (["0.0.0.0/1", "128.0.0.0/1"], None),
    ],
)
def test_source_ranges_are_those_of_the_address_family(given: list[str], taken: list[str] | None) -> None:
    """Of ranges that lie within others, only the others count; where all addresses are let in, there is no range."""
    spec = {"type": "LoadBalancer", "loadBalancerSourceRanges": given}
    table = decide(service("a", "10.96.0.1", ingress=("192.0.2.1",), **spec))
    (found,) = (item for port in table.ports for item in port.frontends if item.kind is FrontendKind.LOAD_BALANCER_IP)
    assert (None if found.source_ranges is None else [str(item) for item in found.source_ranges]) == taken
    assert not problems(table)


@pytest.mark.parametrize("text", ["10.0.0.1", "10.0.0.0/255.0.0.0", "10.0.0.0/0.0.0.255", "10.0.0.0/33", "all", ""])
def test_a_source_range_that_is_no_cidr_is_named_and_lets_nobody_in(text: str) -> None:
    spec = {"type": "LoadBalancer", "loadBalancerSourceRanges": [text]}
    table = decide(service("a", "10.96.0.1", ingress=("192.0.2.1",), **spec))
    (found,) = (item for port in table.ports for item in port.frontends if item.kind is FrontendKind.LOAD_BALANCER_IP)
    assert found.source_ranges == ()
    assert f"spec.loadBalancerSourceRanges[0]: {text!r}: no CIDR" in problems(table)["a"]
