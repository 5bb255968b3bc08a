"""An agent in a Pod starts where nobody translates the ClusterIP of the API server: there is no kube-proxy."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from antrea_proxy.lab.api_server.resources import NODES
from antrea_proxy.lab.control_plane import kubernetes_service
from antrea_proxy.network.values import IPNetwork
from kubectl_cluster import KubectlCluster, kubectl_cluster
from private_switch import inside
from switch.agent_node import COMMAND, NODE, AgentNode, agent_node, until

RANGES: tuple[IPNetwork, ...] = (ip_network("10.96.0.0/12"),)
URL = "https://127.0.0.1:6443"

# What the kubelet mounts into a Pod, in a mount namespace that ends with the agent.
IN_A_POD = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1"/token "$1"/ca.crt /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AgentNode]:
    """A Node with a running switch, and no way to any ClusterIP."""
    with agent_node(tmp_path) as made:
        made.start_switch()
        yield made


@pytest.fixture
def cluster(node: AgentNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubectlCluster]:
    """An API server on the Node, reached at an address of the Node's own; it knows the Node."""
    with inside(Path("/var/run/netns", node.netns)):
        listener = socket.create_server(("127.0.0.1", 6443))
    with kubectl_cluster(tmp_path_factory.mktemp("cluster"), [listener]) as made:
        made.do(lambda store: store.create(NODES, {key: NODE[key] for key in ("metadata", "spec", "status")}))
        made.do(
            lambda store: kubernetes_service.create(store, service_ranges=RANGES, addresses=["172.30.0.1"], port=6443)
        )
        (node.directory / "token").write_text(made.server.token)
        (node.directory / "ca.crt").write_bytes(made.server.certificates.authority)
        yield made
        for agent in node.agents:
            node.stop_agent(agent)


def start_in_pod(node: AgentNode) -> subprocess.Popen[bytes]:
    """Start the agent as a Pod's container: with a ServiceAccount, and without a kubeconfig."""
    agent = (COMMAND, "agent", "--config", str(node.config), "--node-name", "n1")
    with (node.directory / f"agent-{len(node.agents)}.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("ip", "netns", "exec", node.netns, "unshare", "--mount"),
                *("sh", "-c", IN_A_POD, "sh", str(node.directory), *agent),
            ],
            env={**os.environ, "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"},
            stdout=log,
            stderr=log,
        )
    node.agents.append(process)
    return process


@pytest.mark.usefixtures("cluster")
def test_the_override_leads_to_the_api_server_while_the_cluster_ip_leads_nowhere(node: AgentNode) -> None:
    stuck = start_in_pod(node)
    until(lambda: "https://10.96.0.1:443" in node.log, "the ClusterIP is not named", node)
    assert "synchronised" not in node.log
    assert node.stop_agent(stuck) == 0

    with node.config.open("a") as config:
        config.write(f"kubeAPIServerOverride: {URL}\n")
    start_in_pod(node)
    node.synchronised()
    assert "nw_dst=10.96.0.1" in node.flows()
    assert {source["lastError"] for source in node.api("/v1/status")["sources"]} == {""}


@pytest.mark.usefixtures("cluster")
def test_an_override_that_leads_nowhere_is_named_and_tried_again(node: AgentNode) -> None:
    with node.config.open("a") as config:
        config.write("kubeAPIServerOverride: https://127.0.0.1:6444\n")
    start_in_pod(node)
    until(lambda: node.log.count("https://127.0.0.1:6444") > 1, "the URL is not named", node)
    assert "10.96.0.1" not in node.log
    assert node.api("/v1/status")["phase"] == "starting"
