"""What is not served is refused at once, what is not ours is left alone, and what is wrong harms nothing else."""

from __future__ import annotations

import socket
import time

import pytest

from lab_cluster import PATIENCE, Cluster, Place, service_object, wait_until
from lab_stage import Stage, ask_agent, ask_service, await_followed, await_service, slice_object
from lab_traffic import converse

pytestmark = pytest.mark.cluster_ip

AT_ONCE = 1.0
"""Seconds; a SYN that is lost is sent again after one."""


def _refused(client: Place, protocol: str, address: str, port: int) -> bool:
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        _ask(client, protocol, address, port)
    return time.monotonic() - began < AT_ONCE * PATIENCE


def _ask(client: Place, protocol: str, address: str, port: int) -> str:
    return client.get(address, port) if protocol == "tcp" else client.ask_udp(address, port)


@pytest.mark.kernel
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_service_without_endpoints_refuses_at_once_over_both_families(stage: Stage, protocol: str) -> None:
    addresses = stage.service(f"nobody-{protocol}", app="nobody", endpoints=0)
    for client in stage.clients.values():
        for address in addresses:
            for _ in range(3):
                assert _refused(client, protocol, address, 80)


@pytest.mark.kernel
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_the_service_does_not_have_is_refused_at_once(stage: Stage, protocol: str) -> None:
    addresses = stage.service(f"other-port-{protocol}", endpoints=3)
    for client in stage.clients.values():
        for address in addresses:
            assert _refused(client, protocol, address, 81)
            assert _ask(client, protocol, address, 80) in stage.servers


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_refused_client_is_served_from_the_same_port_as_soon_as_an_endpoint_comes(
    stage: Stage, protocol: str
) -> None:
    cluster, namespace, name = stage.cluster, stage.namespace, f"late-{protocol}"
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    addresses = stage.service(name, app=name, endpoints=0)
    for source_port, address in enumerate(addresses, 41_000):
        assert _ask_from(stage.clients["node-1"], kind, source_port, address) == "refused"
    cluster.run_pod(namespace, name, node="node-2")
    await_service(cluster, namespace, name, endpoints=1)
    await_followed(cluster, "node-1")
    for source_port, address in enumerate(addresses, 41_000):
        assert _ask_from(stage.clients["node-1"], kind, source_port, address) == name


def _ask_from(client: Place, kind: int, source_port: int, address: str) -> str:
    with client.open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        sock.settimeout(AT_ONCE * PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", source_port))
        try:
            sock.connect((address, 80))
            if kind == socket.SOCK_STREAM:
                return converse(sock, "/hostname")
            sock.send(b"hostname\n")
            return sock.recv(1000).decode().strip()
        except ConnectionRefusedError:
            return "refused"


def test_services_whose_endpoints_are_all_gone_refuse_new_clients(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    cluster.deploy(namespace, "web", replicas=2)
    address = cluster.expose(namespace, "web", port=80)
    await_service(cluster, namespace, "web", endpoints=2)
    client = stage.clients["node-3"]
    assert client.get(address, 80) in cluster.pods_of(namespace, "web")
    cluster.kubectl("scale", "-n", namespace, "deployment/web", "--replicas=0")
    await_service(cluster, namespace, "web", endpoints=0)
    await_followed(cluster, "node-3")
    assert _refused(client, "tcp", address, 80)
    cluster.kubectl("scale", "-n", namespace, "deployment/web", "--replicas=1")
    await_service(cluster, namespace, "web", endpoints=1)
    await_followed(cluster, "node-3")
    assert client.get(address, 80) in cluster.pods_of(namespace, "web")


def test_headless_and_external_name_services_are_left_alone(stage: Stage) -> None:
    cluster, namespace = stage.cluster, stage.namespace
    external = service_object(namespace, "elsewhere", port=80)
    external["spec"] = {"type": "ExternalName", "externalName": "example.org"}
    headless = service_object(namespace, "headless", port=80, clusterIP="None", selector={"app": "server"})
    cluster.apply(external, headless)
    for node in stage.nodes:
        for name, word in (("elsewhere", "ExternalName"), ("headless", "None")):
            wait_until(
                lambda node=node, name=name: ask_service(cluster, node, namespace, name) is not None,  # type: ignore[misc]
                f"{name} known on {node}",
            )
            seen = ask_service(cluster, node, namespace, name)
            assert seen is not None
            assert (seen["state"], seen["flows"], seen["groups"]) == ("leftAlone", 0, 0)
            assert word in seen["reason"]


def test_sctp_on_a_switch_that_cannot_track_it_is_explained_and_its_neighbour_port_works(stage: Stage) -> None:
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "signals", "port": 80, "targetPort": 8080, "protocol": "SCTP"},
    ]
    address, *_ = stage.service("sctp", ports=ports, endpoints=3)
    for node, client in stage.clients.items():
        datapath = ask_agent(stage.cluster, node, "/v1/status")["switch"]["datapathType"]
        seen = ask_service(stage.cluster, node, stage.namespace, "sctp")
        assert seen is not None
        protocols = {port["protocol"] for port in seen["ports"]}
        if datapath == "netdev":
            assert protocols == {"TCP"}
            assert any("spec.ports[1].protocol: SCTP: Open vSwitch" in problem for problem in seen["problems"])
        else:
            assert protocols == {"TCP", "SCTP"}
            assert not seen["problems"]
        assert client.get(address, 80) in stage.servers
    stage.remove("sctp")  # a Node on which a Service has a problem is not sound to `doctor`


def test_an_endpoint_slice_that_makes_no_sense_harms_no_other(stage: Stage) -> None:
    cluster, namespace = stage.cluster, stage.namespace
    good = stage.addresses_of("server-1")[0]
    address, *_ = stage.service(
        "odd", selector=None, ports=[{"name": "http", "port": 80}], ipFamilyPolicy="SingleStack"
    )
    cluster.apply(
        slice_object(namespace, "odd", "odd-good", addresses=[good], ports=[{"name": "http", "port": 8080}]),
        slice_object(namespace, "odd", "odd-loop", addresses=["10.10.1.250"], ports=[{"name": "other", "port": 8080}]),
    )
    await_service(cluster, namespace, "odd", endpoints=1)
    assert all(client.get(address, 80) == "server-1" for client in stage.clients.values())
