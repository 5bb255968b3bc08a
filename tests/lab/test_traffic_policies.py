"""Which endpoints a client gets: by traffic policy, by hints, and by what endpoints say of themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, JsonObject, wait_until
from lab_stage import Stage, await_service, slice_object
from lab_traffic import many, outcome

READY: JsonObject = {"ready": True, "serving": True, "terminating": False}
NOT_READY: JsonObject = {"ready": False, "serving": False, "terminating": False}
DRAINING: JsonObject = {"ready": False, "serving": True, "terminating": True}
GONE: JsonObject = {"ready": False, "serving": False, "terminating": True}
PORTS: list[JsonObject] = [{"name": "http", "port": 8080}]


class _ByHand:
    """A Service whose endpoints, the stage's servers, are written by hand: server-K on node-K."""

    def __init__(self, stage: Stage, name: str, *, policy: str = "Cluster") -> None:
        self.stage = stage
        self.name = name
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        self.address, *_ = stage.service(name, selector=None, ports=ports, internalTrafficPolicy=policy)

    def write(self, *endpoints: tuple[int, JsonObject] | tuple[int, JsonObject, JsonObject]) -> None:
        """Let these be the endpoints: server number, conditions, hints."""
        stage = self.stage
        items = [
            {
                "addresses": [stage.addresses_of(f"server-{number}")[0]],
                "nodeName": f"node-{number}",
                "conditions": conditions,
                **({"hints": hints[0]} if hints else {}),
            }
            for number, conditions, *hints in endpoints
        ]
        stage.cluster.apply(
            slice_object(stage.namespace, self.name, f"{self.name}-by-hand", addresses=items, ports=PORTS)
        )

    def await_answers(self, node: str, *expected: str) -> None:
        """Wait until clients of a Node get exactly these servers, or `refused` or `dropped`."""
        client = self.stage.clients[node]
        if expected in {("refused",), ("dropped",)}:
            wait_until(lambda: outcome(client, self.address) == expected[0], f"{self.name} {expected[0]} on {node}")
            return
        wait_until(
            lambda: (
                (tally := many(client, "tcp", (self.address, 80), count=30)).answers.keys() == set(expected)
                and not tally.failed
            ),
            f"{self.name} answered by {expected} on {node}",
        )


@pytest.fixture
def by_hand(stage: Stage) -> Iterator[_ByHand]:
    """A Service with endpoints by hand, and the default policies."""
    yield _ByHand(stage, "by-hand")
    stage.remove("by-hand")


@pytest.fixture
def local(stage: Stage) -> Iterator[_ByHand]:
    """The same with internalTrafficPolicy Local."""
    yield _ByHand(stage, "local", policy="Local")
    stage.remove("local")


def test_internal_policy_local_gives_a_pod_the_endpoints_of_its_node_alone(local: _ByHand) -> None:
    """Where the Node has none but the cluster has, connections are dropped; where nobody has any, refused."""
    local.write((1, READY), (2, READY))
    local.await_answers("node-1", "server-1")
    local.await_answers("node-2", "server-2")
    local.await_answers("node-3", "dropped")
    local.write((2, NOT_READY))
    for node in local.stage.nodes:
        local.await_answers(node, "refused")
    local.write((3, READY))
    local.await_answers("node-3", "server-3")
    local.await_answers("node-1", "dropped")


def test_a_terminating_endpoint_of_the_node_serves_a_local_policy_while_others_are_ready(local: _ByHand) -> None:
    """KEP 1669: better to an endpoint that is going than to none."""
    local.write((1, DRAINING), (2, READY))
    local.await_answers("node-1", "server-1")
    local.write((1, GONE), (2, READY))
    local.await_answers("node-1", "dropped")


def test_a_policy_changes_on_a_live_service(by_hand: _ByHand) -> None:
    by_hand.write((1, READY), (2, READY), (3, READY))
    by_hand.await_answers("node-1", "server-1", "server-2", "server-3")
    by_hand.stage.patch("by-hand", internalTrafficPolicy="Local")
    by_hand.await_answers("node-1", "server-1")
    by_hand.stage.patch("by-hand", internalTrafficPolicy="Cluster")
    by_hand.await_answers("node-1", "server-1", "server-2", "server-3")


def test_terminating_endpoints_serve_only_while_none_is_ready(by_hand: _ByHand) -> None:
    by_hand.write((1, READY), (2, DRAINING), (3, NOT_READY))
    by_hand.await_answers("node-3", "server-1")
    by_hand.write((1, GONE), (2, DRAINING), (3, NOT_READY))
    by_hand.await_answers("node-3", "server-2")
    by_hand.write((1, GONE), (2, GONE), (3, NOT_READY))
    by_hand.await_answers("node-3", "refused")


def test_what_a_slice_does_not_say_of_an_endpoint_is_to_its_favour(by_hand: _ByHand) -> None:
    by_hand.write((1, {}), (2, {"ready": True}), (3, {"ready": False}))
    by_hand.await_answers("node-1", "server-1", "server-2")


def test_hints_for_nodes_and_zones_keep_traffic_near_and_are_read_anew_when_they_or_the_node_change(
    cluster: Cluster, by_hand: _ByHand
) -> None:
    """KEP 2433 and 3015. The lab's Nodes are in zone-1, zone-2 and zone-1."""
    one, two = {"forZones": [{"name": "zone-1"}]}, {"forZones": [{"name": "zone-2"}]}
    by_hand.write((1, READY, one), (2, READY, two), (3, READY, one))
    by_hand.await_answers("node-1", "server-1", "server-3")
    by_hand.await_answers("node-2", "server-2")
    label = "topology.kubernetes.io/zone"
    cluster.kubectl("label", "node", "node-1", f"{label}=zone-2", "--overwrite")
    try:
        by_hand.await_answers("node-1", "server-2")
        cluster.kubectl("label", "node", "node-1", f"{label}=nowhere", "--overwrite")
        by_hand.await_answers("node-1", "server-1", "server-2", "server-3")
    finally:
        cluster.kubectl("label", "node", "node-1", f"{label}=zone-1", "--overwrite")
    by_hand.await_answers("node-1", "server-1", "server-3")
    nodes = [one | {"forNodes": [{"name": f"node-{number}"}]} for number in (1, 2, 3)]
    by_hand.write((1, READY, nodes[0]), (2, READY, nodes[1]), (3, READY, nodes[2]))
    by_hand.await_answers("node-1", "server-1")
    by_hand.await_answers("node-2", "server-2")
    by_hand.write((1, READY, nodes[0]), (2, READY), (3, READY, one))
    by_hand.await_answers("node-1", "server-1", "server-2", "server-3")


@pytest.mark.parametrize(
    ("asked", "reached"), [("PreferSameNode", {"server-1"}), ("PreferSameZone", {"server-1", "server-3"})]
)
def test_traffic_distribution_of_a_service_is_obeyed_by_way_of_the_hints_that_it_makes(
    stage: Stage, asked: str, reached: set[str]
) -> None:
    """KEP 4444; the other servers are in the other zone, or on other Nodes."""
    address, *_ = stage.service("near", endpoints=3)
    client = stage.clients["node-1"]
    assert set(many(client, "tcp", (address, 80), count=60).answers) == set(stage.servers)
    stage.patch("near", trafficDistribution=asked)
    await_service(stage.cluster, stage.namespace, "near")
    wait_until(
        lambda: set(many(client, "tcp", (address, 80), count=60).answers) == reached, f"{asked} reaches {reached}"
    )
    stage.remove("near")


def test_addresses_that_are_not_ready_are_published_where_the_service_says_so(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    probe = {"httpGet": {"path": "/no-such-path", "port": 8080}, "periodSeconds": 1}
    container = {"name": "server", "image": "pod-server", "readinessProbe": probe}
    body = {"containers": [container], "terminationGracePeriodSeconds": 1, "nodeName": "node-2"}
    metadata = {"name": "never", "namespace": namespace, "labels": {"app": "never"}}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})
    address = cluster.expose(namespace, "never", port=80)
    client = stage.clients["node-1"]
    wait_until(lambda: outcome(client, address) == "refused", "no ready Pod")
    patch = '{"spec": {"publishNotReadyAddresses": true}}'
    cluster.kubectl("patch", "service", "-n", namespace, "never", "-p", patch)
    wait_until(lambda: outcome(client, address) == "never", "the Pod is published")


def test_a_pod_on_the_network_of_its_node_is_an_endpoint_of_that_node_for_a_local_policy(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    container = {"name": "server", "image": "pod-server", "args": ["--port", "18082", "--hostname", "on-the-host"]}
    cluster.run_pod(namespace, "host", node="node-2", hostNetwork=True, containers=[container])
    ports = [{"port": 80, "targetPort": 18082}]
    address = cluster.expose(namespace, "host", port=80, ports=ports, internalTrafficPolicy="Local")
    wait_until(lambda: outcome(stage.clients["node-2"], address) == "on-the-host", "answered on its own Node")
    wait_until(lambda: outcome(stage.clients["node-1"], address) == "dropped", "dropped on another Node")


def test_clients_fall_back_to_their_zone_when_the_endpoint_of_their_node_ends_and_return_when_there_is_one_again(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    """KEP 3015: node-1 and node-3 are in one zone, node-2 in another."""
    for number in (1, 2, 3):
        cluster.run_pod(namespace, f"web-{number}", node=f"node-{number}", labels={"app": "web"})
    address = cluster.expose(namespace, "web", port=80, trafficDistribution="PreferSameNode")
    client = stage.clients["node-1"]

    def reached(*servers: str) -> None:
        wait_until(lambda: set(many(client, "tcp", (address, 80), count=30).answers) == set(servers), f"{servers}")

    reached("web-1")
    cluster.kubectl("delete", "pod", "-n", namespace, "web-1")
    reached("web-3")
    cluster.run_pod(namespace, "web-1", node="node-1", labels={"app": "web"})
    reached("web-1")
