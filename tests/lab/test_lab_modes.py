"""Every way of joining Nodes, and every family, carries Pods' traffic between Nodes and to Services.

The default run has most of them in test_cluster_ip_modes.
"""

from __future__ import annotations

import pytest

from lab_cluster import running_cluster


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("--encap-mode", "noEncap"), marks=pytest.mark.full),
        pytest.param(("--tunnel", "vxlan", "--ip-family", "ipv4"), marks=pytest.mark.full),
        pytest.param(("--ip-family", "ipv6"), marks=pytest.mark.full),
        pytest.param(("--tunnel", "gre", "--ip-family", "ipv6"), marks=pytest.mark.full),
        pytest.param(("--tunnel", "gre"), marks=pytest.mark.cluster_ip),
        pytest.param(("--subnets", "2"), marks=pytest.mark.full),
        ("--encap-mode", "noEncap", "--subnets", "2", "--ip-family", "ipv6"),
    ],
    ids=" ".join,
)
def test_pods_reach_pods_and_services_across_nodes(arguments: tuple[str, ...]) -> None:
    with running_cluster("--nodes", "2", *arguments) as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "t"}})
        cluster.deploy("t", "web", replicas=4)
        cluster.expose("t", "web", port=80, ipFamilyPolicy="PreferDualStack")
        client = cluster.pod("t", cluster.run_pod("t", "client", node="node-1"))
        pods = cluster.pods_of("t", "web")
        assert {pod["spec"]["nodeName"] for pod in pods.values()} == {"node-1", "node-2"}
        for name, pod in pods.items():
            for entry in pod["status"]["podIPs"]:
                assert client.get(entry["ip"], 8080) == name
                assert len(client.get(entry["ip"], 8080, "/bytes?n=300000")) == 300_000
        for address in cluster.get("service", "-n", "t", "web")["spec"]["clusterIPs"]:
            answers = client.connect_many(address, 80, count=60)
            assert not answers.failed
            assert set(answers.hostnames) == set(pods)
        assert client.get(str(cluster.get("pod", "-n", "t", "client")["status"]["podIP"]), 8080) == "client"
        assert cluster.status()["problems"] == []
