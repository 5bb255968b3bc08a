"""SCTP through Services, at every kind of address: where the kernel has its sockets and the switch can track it."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from lab_cluster import PATIENCE, Cluster, Place, pod_object, service_object
from lab_entry import Entry, node_address
from lab_stage import DUAL, Stage, await_service

pytestmark = [pytest.mark.kernel, pytest.mark.kernel_only]

SERVER = {"containers": [{"name": "c", "image": "pod-server", "args": ["--port", "8080", "--sctp"]}]}
PORTS = [{"name": "signals", "port": 80, "targetPort": 8080, "protocol": "SCTP"}]
ASSOCIATIONS = 20


def ask_sctp(place: Place, address: str, port: int, line: str = "hostname") -> str:
    """Open an association, send one line and give the answer. Raises OSError, TimeoutError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.open_socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
        sock.settimeout(3 * PATIENCE)
        sock.connect((address, port))
        sock.send(line.encode() + b"\n")
        return sock.recv(65536).decode().rstrip("\n")


def servers(cluster: Cluster, namespace: str, *nodes: str) -> list[str]:
    """Run a server on each Node, labelled app=signals."""
    names = [f"signals-{node}" for node in nodes]
    cluster.apply(
        *(
            pod_object(namespace, name, node=node, labels={"app": "signals"}, **SERVER)
            for name, node in zip(names, nodes, strict=True)
        )
    )
    ready = ("--for=condition=Ready", f"--timeout={60 * PATIENCE:.0f}s")
    cluster.kubectl("wait", "-n", namespace, "pods", "-l", "app=signals", *ready)
    return names


def test_associations_of_pods_reach_every_endpoint_of_a_cluster_ip_and_end_is_refused(stage: Stage) -> None:
    cluster, namespace = stage.cluster, stage.namespace
    names = servers(cluster, namespace, *stage.nodes)
    addresses = stage.service("signals", app="signals", ports=PORTS, endpoints=len(names))
    for client in stage.clients.values():
        for address in addresses:
            answered = Counter(ask_sctp(client, address, 80) for _ in range(ASSOCIATIONS))
            assert set(answered) == set(names)
    cluster.kubectl("delete", "pods", "-n", namespace, "-l", "app=signals")
    await_service(cluster, namespace, "signals", endpoints=0)
    for address in addresses:
        with pytest.raises(OSError, match=r"refused|aborted|timed out"):
            ask_sctp(stage.clients["node-1"], address, 80)
    stage.remove("signals")


def test_associations_from_outside_and_from_nodes_reach_the_endpoint_at_every_kind_of_address(
    proxy_all: Entry,
) -> None:
    cluster, namespace = proxy_all.cluster, "entry"
    (name,) = servers(cluster, namespace, "node-1")
    spec = {"selector": {"app": "signals"}, "type": "LoadBalancer", "ports": PORTS, **DUAL}
    external = ["172.31.0.99", "fd00:31::99"]
    cluster.apply(service_object(namespace, "signals", port=80, externalIPs=external, **spec))
    await_service(cluster, namespace, "signals", endpoints=1)
    proxy_all.settle()
    service = cluster.get("service", "-n", namespace, "signals")
    node_port = int(service["spec"]["ports"][0]["nodePort"])
    balanced = [entry["ip"] for entry in service["status"]["loadBalancer"]["ingress"]]
    for ingress in ("node-1", "node-2"):
        cluster.lab("route", "client-1", "--via", ingress)
        node_ports = [(node_address(ingress, family), node_port) for family in (4, 6)]
        outside = [*((address, 80) for address in (*balanced, *external)), *node_ports]
        inside = [*outside, *((address, 80) for address in service["spec"]["clusterIPs"])]
        for place, targets in ((cluster.client(), outside), (cluster.node(ingress), inside)):
            for address, port in targets:
                assert ask_sctp(place, address, port) == name, f"{place.name} at {address}:{port} by way of {ingress}"
    proxy_all.remove("signals")
    cluster.kubectl("delete", "pod", "-n", namespace, name, "--wait=false")
