"""A Node whose stack has no nftables, as under Windows: a NetNat leads NodePorts to the switch, nothing refuses for it.

The pipeline is the same; what Windows' NetNat does with a static mapping, one nftables rule of the test's does.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from antrea_proxy.host.desired import TABLE
from antrea_proxy.host.windows.desired import StaticMapping
from antrea_proxy.network.values import NODE_PORT_IPV4, REFUSAL_PORT
from lab_cluster import wait_until
from lab_entry import Entry, questions
from lab_traffic import outcome

NODE = "node-2"


@contextmanager
def without_nftables(entry: Entry, mappings: list[StaticMapping]) -> Iterator[None]:
    """Take our tables and the port of refusals off the Node, and put the mappings of a NetNat there."""
    node = entry.cluster.node(NODE)
    (pid,) = (item["agent"]["pid"] for item in entry.cluster.status()["nodes"] if item["name"] == NODE)
    own = "add rule ip netnat prerouting fib daddr type local"
    ports = "; ".join(f"{own} {item.protocol.lower()} dport {item.port} dnat to {item.to}" for item in mappings)
    os.kill(pid, signal.SIGSTOP)
    try:
        node.command("nft", "delete", "table", *TABLE)
        database = entry.cluster.places.node(NODE).ovs / "db.sock"
        subprocess.run(["ovs-vsctl", f"--db=unix:{database}", "del-port", REFUSAL_PORT], check=True, timeout=30)
        chain = "add chain ip netnat prerouting { type nat hook prerouting priority dstnat; }"
        node.command("nft", f"add table ip netnat; {chain}; {ports}")
        yield
    finally:
        node.command("nft", "delete", "table", "ip", "netnat", check=False)
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: _has_table(entry), f"{NODE} has its nftables again")
    entry.settle()


def _has_table(entry: Entry) -> bool:
    return entry.cluster.node(NODE).command("nft", "list", "table", *TABLE, check=False).returncode == 0


def test_without_nftables_all_is_served_but_nobody_is_told_of_a_refusal(proxy_all: Entry) -> None:
    entry = proxy_all
    entry.service("empty", app="pod", selector={"app": "nobody"})
    (address, *_) = entry.addresses("empty")["ClusterIP"]
    pod = entry.cluster.pod("entry", "client-2")
    assert outcome(pod, address) == "refused"
    entry.cluster.lab("route", "client-1", "--via", NODE)
    outside = [
        question
        for kinds, clients in (
            (("load-balancer IP", "external IP", "NodePort"), "host outside"),
            (("ClusterIP",), "Pod"),
        )
        for question in questions(["pod"], kinds, policy="Cluster", client=clients, ingress=NODE)
        if question.family == 4
    ]
    mappings = [
        StaticMapping(protocol=protocol.upper(), port=entry.node_port("pod-cluster", protocol), to=NODE_PORT_IPV4)
        for protocol in ("tcp", "udp")
    ]
    with without_nftables(entry, mappings):
        entry.assert_answered(outside)
        assert outcome(pod, address) == "dropped"
    with without_nftables(entry, []), pytest.raises(ConnectionRefusedError):
        entry.assert_answered([question for question in outside if question.kind == "NodePort"])
    wait_until(lambda: outcome(pod, address) == "refused", "refusals are told again")
    entry.assert_answered(outside)
    entry.remove("empty")
