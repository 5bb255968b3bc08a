"""A Node loses its power and comes back: Pods, their wiring, the switch and the Node's own stack are made anew."""

from __future__ import annotations

import itertools
import subprocess

from lab_cluster import PROGRAM, Cluster
from lab_entry import NAMESPACE, TARGET_PORTS, entry_lab, questions
from lab_stage import DUAL, await_service
from lab_traffic import steady

REBOOTED, OTHER = "node-1", "node-2"
"""All endpoints of the lab's Services are on node-1."""


def test_after_a_reboot_a_node_serves_as_before_and_nobody_elsewhere_has_noticed() -> None:
    with entry_lab("encap") as entry:
        cluster = entry.cluster
        cluster.run_pod(NAMESPACE, "elsewhere", node=OTHER, labels={"app": "elsewhere"})
        cluster.expose(NAMESPACE, "elsewhere", port=80, **DUAL)
        await_service(cluster, NAMESPACE, "elsewhere", endpoints=1)
        there = cluster.get("service", "-n", NAMESPACE, "elsewhere")["spec"]["clusterIPs"]
        client, ports = cluster.pod(NAMESPACE, "client-2"), _switch_ports(cluster)
        with steady(client, "tcp", (there[0], 80)) as ipv4, steady(client, "tcp", (there[1], 80)) as ipv6:
            cluster.lab("restart", "node", REBOOTED)
            for load in (ipv4, ipv6):
                assert set(load.result().answers) == {"elsewhere"}
                assert not load.result().failed
        cluster.kubectl("wait", "-n", NAMESPACE, "pods", "--all", "--for=condition=Ready", "--timeout=30s")
        await_service(cluster, NAMESPACE, "pod-cluster", endpoints=1)
        entry.settle()
        kinds = ("load-balancer IP", "external IP", "NodePort")
        for who, ingress in itertools.product(("Pod", "Node", "host outside"), (REBOOTED, OTHER)):
            cluster.lab("route", "client-1", "--via", ingress)
            entry.assert_answered(questions(TARGET_PORTS, kinds, policy="Cluster", client=who, ingress=ingress))
        assert _switch_ports(cluster) == ports, "none of the Pods' former sandboxes is left in the switch's database"
        examined = subprocess.run(
            [PROGRAM, "doctor", "--lab", cluster.name, "--node", REBOOTED], check=False, capture_output=True, text=True
        )
        assert examined.returncode == 0, examined.stdout


def _switch_ports(cluster: Cluster) -> int:
    database = cluster.places.node(REBOOTED).ovs / "db.sock"
    words = ["ovs-vsctl", f"--db=unix:{database}", "--timeout=10", "list-ports", "br-int"]
    return len(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())
