"""Beneath the Services: Pods, Nodes and the world outside reach each other directly, with whole packets."""

from __future__ import annotations

import pytest

from lab_cluster import Cluster
from lab_stage import Stage, serving_outside

pytestmark = pytest.mark.cluster_ip

CLIENT_1 = ("172.18.0.101", "fd00:18::101")


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]")


def test_pods_reach_pods_and_keep_their_addresses(stage: Stage) -> None:
    for client in stage.clients.values():
        own = stage.addresses_of(client.name)
        for server in stage.servers:
            for source, address in zip(own, stage.addresses_of(server), strict=True):
                assert client.get(address, 8080) == server
                assert _host(client.get(address, 8080, "/clientip")) == source
                assert _host(client.ask_udp(address, 8080, "clientip")) == source


def test_nodes_reach_pods_and_pods_reach_nodes(stage: Stage) -> None:
    cluster = stage.cluster
    container = {"name": "c", "image": "pod-server", "args": ["--port", "18090", "--hostname", "the-node"]}
    cluster.run_pod(stage.namespace, "node-server", node="node-3", hostNetwork=True, containers=[container])
    for node, client in stage.clients.items():
        for address in ("172.18.0.3", "fd00:18::3"):
            assert client.get(address, 18090) == "the-node"
            assert client.ask_udp(address, 18090) == "the-node"
        for server in stage.servers:
            for address in stage.addresses_of(server):
                assert cluster.node(node).get(address, 8080) == server
                assert cluster.node(node).ask_udp(address, 8080) == server


def test_pods_reach_the_world_outside_with_their_nodes_address(stage: Stage) -> None:
    with serving_outside(stage.cluster.client(), name="outside", port=18091):
        for node, client in stage.clients.items():
            number = node.removeprefix("node-")
            for address, seen in zip(CLIENT_1, (f"172.18.0.{number}", f"fd00:18::{number}"), strict=True):
                assert _host(client.get(address, 18091, "/clientip")) == seen
                assert _host(client.ask_udp(address, 18091, "clientip")) == seen


def test_pods_of_every_node_are_pinged_from_pods_and_nodes(cluster: Cluster, stage: Stage) -> None:
    for place in (stage.clients["node-1"], cluster.node("node-1")):
        for server in stage.servers:
            for address in stage.addresses_of(server):
                done = place.command("ping", "-c", "2", "-i", "0.2", "-W", "2", address, check=False)
                assert done.returncode == 0, f"{place.name} to {address}: {done.stdout}"


def test_packets_as_large_as_the_pods_mtu_pass_between_nodes_unfragmented(stage: Stage) -> None:
    client = stage.clients["node-1"]
    mtu = int(client.command("cat", "/proc/sys/net/ipv6/conf/eth0/mtu").stdout)
    for server in ("server-1", "server-2"):
        for address, headers in zip(stage.addresses_of(server), (28, 48), strict=True):
            for size, comes_back in ((mtu - headers, True), (mtu - headers + 1, False)):
                done = client.command(
                    "ping", "-M", "do", "-c", "2", "-i", "0.2", "-W", "2", "-s", str(size), address, check=False
                )
                assert (done.returncode == 0) is comes_back, f"{size} bytes to {address}: {done.stdout}{done.stderr}"
