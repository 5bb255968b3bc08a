"""The cluster that the lab makes does what its users expect of a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab_cluster import Cluster, pod_object, wait_until


def test_a_service_is_answered_by_all_of_its_pods_on_every_node(cluster: Cluster, namespace: str) -> None:
    cluster.deploy(namespace, "web", replicas=6)
    address = cluster.expose(namespace, "web", port=80)
    pods = cluster.pods_of(namespace, "web")
    assert {pod["spec"]["nodeName"] for pod in pods.values()} == set(cluster.node_names)
    client = cluster.pod(namespace, cluster.run_pod(namespace, "client"))
    answers = client.connect_many(address, 80, count=120)
    assert not answers.failed
    assert set(answers.hostnames) == set(pods)


def test_a_pod_is_reached_over_udp_and_both_families(cluster: Cluster, namespace: str) -> None:
    cluster.run_pod(namespace, "server", node="node-2")
    client = cluster.pod(namespace, cluster.run_pod(namespace, "client", node="node-1"))
    addresses = [entry["ip"] for entry in cluster.get("pod", "-n", namespace, "server")["status"]["podIPs"]]
    assert len(addresses) == 2
    for address in addresses:
        assert client.get(address, 8080) == "server"
        assert client.ask_udp(address, 8080, "echo hello") == "hello"


def test_a_deleted_pod_is_a_terminating_endpoint_until_it_has_gone(cluster: Cluster, namespace: str) -> None:
    cluster.deploy(
        namespace,
        "slow",
        replicas=1,
        containers=[{"name": "server", "image": "pod-server", "args": ["--drain", "3"]}],
        terminationGracePeriodSeconds=10,
    )
    cluster.expose(namespace, "slow", port=80)
    (name,) = cluster.pods_of(namespace, "slow")
    began = time.monotonic()
    cluster.kubectl("delete", "pod", "-n", namespace, name, "--wait=false")

    def conditions() -> list[dict[str, bool]]:
        slices = cluster.get("endpointslices", "-n", namespace, "-l", "kubernetes.io/service-name=slow")["items"]
        endpoints = [endpoint for found in slices for endpoint in found["endpoints"] or ()]
        return [e["conditions"] for e in endpoints if e["targetRef"]["name"] == name]

    wait_until(lambda: conditions() == [{"ready": False, "serving": True, "terminating": True}], "terminating endpoint")
    wait_until(lambda: conditions() == [], "endpoint gone")
    assert time.monotonic() - began > 2


def test_the_switches_programs_come_before_other_work_of_the_machine(cluster: Cluster) -> None:
    for node in cluster.node_names:
        for program in ("ovsdb-server", "ovs-vswitchd"):
            pid = int((cluster.places.node(node).ovs / f"{program}.pid").read_text())
            assert os.getpriority(os.PRIO_PROCESS, pid) == -10
            session = Path(f"/proc/{pid}/autogroup")
            assert not session.exists() or session.read_text().endswith(" nice -10\n")


def test_a_command_runs_in_the_pod_and_is_restarted_when_it_ends(cluster: Cluster, namespace: str) -> None:
    container = {
        "name": "c",
        "image": "none",
        "command": ["sh", "-c", "echo $GREETING from $ME; sleep 0.2; exit 3"],
        "env": [
            {"name": "GREETING", "value": "hello"},
            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    }
    cluster.run_pod(namespace, "crasher", containers=[container])
    wait_until(
        lambda: cluster.get("pod", "-n", namespace, "crasher")["status"]["containerStatuses"][0]["restartCount"] >= 1,
        "restarted container",
    )
    log = cluster.places.pod_logs / f"{namespace}_crasher_c.log"
    assert "hello from crasher" in log.read_text()


def test_a_failing_readiness_probe_takes_the_pod_out_of_its_service(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    probe = {"exec": {"command": ["test", "-e", str(ready)]}, "periodSeconds": 1, "failureThreshold": 1}
    cluster.run_pod(namespace, "probed", containers=[{"name": "c", "image": "none", "readinessProbe": probe}])
    ready.unlink()
    cluster.kubectl("wait", "-n", namespace, "pod/probed", "--for=condition=Ready=false", "--timeout=10s")
    ready.touch()
    cluster.kubectl("wait", "-n", namespace, "pod/probed", "--for=condition=Ready", "--timeout=10s")


def test_a_host_network_pod_has_the_nodes_address(cluster: Cluster, namespace: str) -> None:
    server = {"name": "c", "image": "none", "args": ["--port", "18080"]}
    cluster.run_pod(namespace, "host", node="node-3", hostNetwork=True, containers=[server])
    assert cluster.get("pod", "-n", namespace, "host")["status"]["podIP"] == "172.18.0.3"
    assert cluster.node("node-1").get("172.18.0.3", 18080) == "host"
    assert cluster.client().get("fd00:18::3", 18080) == "host"


def test_exec_gives_the_commands_exit_code_and_the_pods_name(cluster: Cluster, namespace: str) -> None:
    cluster.run_pod(namespace, "inside")
    done = cluster.lab("exec", "inside", "-n", namespace, "--", "sh", "-c", "hostname; exit 7", check=False)
    assert (done.stdout, done.returncode) == ("inside\n", 7)
    absent = cluster.lab("exec", "nobody", "-n", namespace, "--", "true", check=False)
    assert absent.returncode == 1
    assert f"no Pod 'nobody' runs in namespace '{namespace}'; running there: inside" in absent.stderr


def test_status_names_what_is_not_healthy_and_why(cluster: Cluster, namespace: str) -> None:
    assert cluster.status()["healthy"]
    cluster.apply(pod_object(namespace, "lost", nodeSelector={"moon": "dark"}))
    wait_until(lambda: not cluster.status()["healthy"], "a problem in the status")
    (problem,) = cluster.status()["problems"]
    assert f"Pod {namespace}/lost is not ready (Pending): 0/3 nodes are available" in problem


def test_status_check_finds_a_pod_whose_wiring_somebody_has_broken(cluster: Cluster, namespace: str) -> None:
    cluster.run_pod(namespace, "wired")
    assert cluster.lab("status", "--check", check=False).returncode == 0
    cluster.pod(namespace, "wired").command("ip", "address", "flush", "dev", "eth0")
    broken = cluster.lab("status", "--check", check=False)
    assert broken.returncode == 1
    assert f"the wiring of Pod {namespace}/wired is broken: CNI CHECK: " in " ".join(broken.stdout.split())


def test_a_restarted_agent_keeps_every_pod_that_lives(cluster: Cluster, namespace: str) -> None:
    cluster.run_pod(namespace, "staying", node="node-1")
    cluster.lab("restart", "agent", "node-1")
    address = cluster.get("pod", "-n", namespace, "staying")["status"]["podIP"]
    assert cluster.node("node-1").get(address, 8080) == "staying"
    assert cluster.lab("status", "--check", check=False).returncode == 0
