"""Pods whose ports the userspace datapath reads by AF_XDP: everything is as with packet sockets."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from lab_cluster import PATIENCE, Cluster, running_cluster, wait_until
from lab_stage import DUAL, Stage, await_service, synchronisations

VARIABLE = "ANTREA_PROXY_POD_PORTS"


@pytest.fixture(scope="module")
def xdp() -> Iterator[Stage]:
    """A lab of two Nodes, a client and a server on each."""
    os.environ[VARIABLE] = "afxdp"
    try:
        with running_cluster("--nodes", "2") as made:
            yield Stage(made, "stage")
    finally:
        del os.environ[VARIABLE]


def kinds(cluster: Cluster, node: str) -> set[str]:
    """The types of the ports of a Node's Pods."""
    database = cluster.places.node(node).ovs / "db.sock"
    words = ["ovs-vsctl", f"--db=unix:{database}", "--columns=type", "--bare", "find", "Interface", "external_ids!={}"]
    return set(subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout.split())


def assert_all_is_reached(xdp: Stage, addresses: list[str]) -> None:
    """Every client reaches every server, and the Service, by both protocols, small and large."""
    for client in xdp.clients.values():
        for server in xdp.servers:
            for address in xdp.addresses_of(server):
                assert client.get(address, 8080) == server
                assert client.ask_udp(address, 8080) == server
        for address in addresses:
            assert client.get(address, 80) in xdp.servers
            assert client.ask_udp(address, 80) in xdp.servers
            assert len(client.get(address, 80, "/bytes?n=3000000", timeout=10 * PATIENCE)) == 3_000_000


def test_pods_reach_each_other_and_services_also_after_a_restart_of_the_agent(xdp: Stage) -> None:
    cluster = xdp.cluster
    addresses = xdp.service("web")
    await_service(cluster, xdp.namespace, "web")
    for node in xdp.nodes:
        assert kinds(cluster, node) == {"afxdp-nonpmd"}
    assert_all_is_reached(xdp, addresses)
    before = len(synchronisations(cluster, "node-1"))
    cluster.lab("restart", "agent", "node-1")
    wait_until(lambda: len(synchronisations(cluster, "node-1")) > before, "agent at work again")
    assert_all_is_reached(xdp, addresses)


def test_a_service_without_endpoints_refuses(xdp: Stage) -> None:
    for address in xdp.service("empty", endpoints=0, app="nobody", **DUAL):
        for client in xdp.clients.values():
            with pytest.raises(ConnectionRefusedError):
                client.get(address, 80)
