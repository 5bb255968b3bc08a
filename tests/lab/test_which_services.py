"""Services that are left alone: what Pods send to their addresses leaves by the gateway into the Node's own stack.

The addresses are then held by the Node itself, on an interface of its own, so that one sees who answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, JsonObject, Place
from lab_stage import (
    BOTH_PROTOCOLS,
    DUAL,
    Stage,
    await_followed,
    await_service,
    await_state,
    held_by_the_node,
    reconfigured,
)

NODE = "node-1"
LOCAL_DNS = "169.254.20.10"
"""Where NodeLocal DNSCache listens on every Node beside kube-dns' own address."""


def _who(client: Place, address: str, port: int) -> set[str]:
    """Tell who answers, over TCP and UDP."""
    answers = [client.get(address, port) for _ in range(6)]
    return {*answers, *(client.ask_udp(address, port) for _ in range(6))}


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_a_label_on_a_live_service_gives_its_address_to_the_node_and_its_removal_takes_it_back(
    cluster: Cluster, stage: Stage, label: str
) -> None:
    addresses = stage.service("labelled", endpoints=3)
    client, servers = stage.clients[NODE], set(stage.servers)
    with held_by_the_node(cluster.node(NODE), addresses, 80):
        for address in addresses:
            assert _who(client, address, 80) <= servers
        for _ in range(2):
            cluster.kubectl("label", "service", "-n", stage.namespace, "labelled", f"{label}=other")
            assert label in await_state(cluster, NODE, stage.namespace, "labelled", "leftAlone")["reason"]
            for address in addresses:
                assert _who(client, address, 80) == {"the-node"}
            cluster.kubectl("label", "service", "-n", stage.namespace, "labelled", f"{label}-")
            await_state(cluster, NODE, stage.namespace, "labelled", "balanced")
            for address in addresses:
                assert _who(client, address, 80) <= servers
    cluster.kubectl("delete", "service", "-n", stage.namespace, "labelled")


def test_a_live_service_becomes_an_external_name_and_a_cluster_ip_again(cluster: Cluster, stage: Stage) -> None:
    before = stage.service("named", endpoints=3)
    client = stage.clients[NODE]
    to_name = {"type": "ExternalName", "externalName": "example.org", "clusterIP": None, "clusterIPs": None}
    to_name |= {"ipFamilies": None, "ipFamilyPolicy": None}
    with held_by_the_node(cluster.node(NODE), before, 80):
        _patch_service(cluster, stage.namespace, "named", to_name)
        assert await_state(cluster, NODE, stage.namespace, "named", "leftAlone")["reason"] == "type is ExternalName"
        for address in before:
            assert _who(client, address, 80) == {"the-node"}
        _patch_service(cluster, stage.namespace, "named", {"type": "ClusterIP", "externalName": None, **DUAL})
        await_service(cluster, stage.namespace, "named", endpoints=3)
        await_followed(cluster, NODE)
        for address in stage.cluster_ips("named"):
            assert _who(client, address, 80) <= set(stage.servers)
    cluster.kubectl("delete", "service", "-n", stage.namespace, "named")


def _patch_service(cluster: Cluster, namespace: str, name: str, spec: JsonObject) -> None:
    cluster.kubectl("patch", "service", "-n", namespace, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def test_with_a_proxy_name_of_its_own_the_agent_serves_the_services_that_bear_it_and_no_other(
    cluster: Cluster, stage: Stage
) -> None:
    mine, theirs = stage.service("mine"), stage.service("theirs")
    label = "service.kubernetes.io/service-proxy-name=antrea"
    cluster.kubectl("label", "service", "-n", stage.namespace, "mine", label)
    client = stage.clients[NODE]
    with (
        held_by_the_node(cluster.node(NODE), [*mine, *theirs], 80),
        reconfigured(cluster, NODE, antreaProxy={"serviceProxyName": "antrea"}),
    ):
        await_state(cluster, NODE, stage.namespace, "mine", "balanced")
        await_state(cluster, NODE, stage.namespace, "theirs", "leftAlone")
        for address in mine:
            assert _who(client, address, 80) <= set(stage.servers)
        for address in theirs:
            assert _who(client, address, 80) == {"the-node"}
    cluster.kubectl("delete", "service", "-n", stage.namespace, "mine", "theirs")


@pytest.fixture
def kube_dns(cluster: Cluster) -> Iterator[list[str]]:
    """A cluster's DNS: two Pods, and the Service kube-dns whose ClusterIPs are given."""
    cluster.deploy("kube-system", "kube-dns", replicas=2)
    ports = [port | {"port": 53} for port in BOTH_PROTOCOLS]
    cluster.expose("kube-system", "kube-dns", port=53, ports=ports, **DUAL)
    await_service(cluster, "kube-system", "kube-dns", endpoints=2)
    addresses: list[str] = cluster.get("service", "-n", "kube-system", "kube-dns")["spec"]["clusterIPs"]
    yield addresses
    cluster.kubectl("delete", "service,deployment", "-n", "kube-system", "kube-dns")


@pytest.mark.parametrize("entry", ["name", "ClusterIP"])
def test_nodelocal_dnscache_answers_pods_although_kube_dns_has_endpoints(
    cluster: Cluster, stage: Stage, kube_dns: list[str], entry: str
) -> None:
    """As its users set it up: skipServices names kube-dns, and on the Node the cache holds both addresses."""
    client, pods = stage.clients[NODE], set(cluster.pods_of("kube-system", "kube-dns"))
    skipped = "kube-system/kube-dns" if entry == "name" else kube_dns[0]
    with held_by_the_node(cluster.node(NODE), [LOCAL_DNS, *kube_dns], 53):
        with reconfigured(cluster, NODE, antreaProxy={"skipServices": [skipped]}):
            reason = await_state(cluster, NODE, "kube-system", "kube-dns", "leftAlone")["reason"]
            assert reason.startswith("skipServices names ")
            for address in (LOCAL_DNS, *kube_dns):
                assert _who(client, address, 53) == {"the-node"}
            assert _who(stage.clients["node-2"], kube_dns[0], 53) <= pods, "only this Node was told to skip it"
        await_state(cluster, NODE, "kube-system", "kube-dns", "balanced")
        assert _who(client, LOCAL_DNS, 53) == {"the-node"}
        for address in kube_dns:
            assert _who(client, address, 53) <= pods
