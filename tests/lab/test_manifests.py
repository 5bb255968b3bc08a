"""The manifests of deploy/ on a running cluster: an agent takes its configuration from the ConfigMap as applied."""

from __future__ import annotations

from pathlib import Path

import yaml

from lab_cluster import running_cluster
from lab_stage import Stage, ask_agent, await_service, await_state

PLAIN = Path(__file__).resolve().parents[2] / "deploy" / "antrea-proxy.yaml"


def test_agents_run_with_the_configmap_that_was_applied() -> None:
    """It decides at the next start of an agent, Services go on, and a key in it is seen to be obeyed."""
    text = PLAIN.read_text()
    skipping = text.replace("proxyAll: false", "proxyAll: false\n      skipServices: [stage/web]")
    assert skipping != text
    with running_cluster("--nodes", "2") as cluster:
        stage = Stage(cluster, "stage")
        addresses = stage.service("web", endpoints=2)
        cluster.kubectl("apply", "-f", "-", stdin=skipping)
        for node in stage.nodes:
            cluster.lab("restart", "agent", node)
            await_state(cluster, node, "stage", "web", "leftAlone")
        cluster.kubectl("apply", "-f", str(PLAIN))
        for node in stage.nodes:
            cluster.lab("restart", "agent", node)
        await_service(cluster, "stage", "web", endpoints=2)

        applied = yaml.safe_load(
            cluster.get("configmap", "-n", "kube-system", "antrea-config")["data"]["antrea-agent.conf"]
        )
        running = ask_agent(cluster, stage.nodes[0], "/v1/config")["settings"]
        assert running["trafficEncapMode"] == applied["trafficEncapMode"]
        assert running["antreaProxy"].items() >= applied["antreaProxy"].items()
        for address in addresses:
            answers = stage.clients[stage.nodes[0]].connect_many(address, 80, count=60)
            assert not answers.failed
            assert set(answers.hostnames) == set(stage.servers)
