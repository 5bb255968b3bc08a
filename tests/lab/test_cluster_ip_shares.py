"""Every endpoint of a Service has its fair share of the connections, however many endpoints there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, wait_until
from lab_many_endpoints import address_of, answering_everywhere, slices
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, ask_agent, ask_service, await_service
from lab_traffic import FROM_NEW_PORTS, Tally, even, many

pytestmark = pytest.mark.cluster_ip

CONNECTIONS = 3000
FEW = 257
"""So many endpoints are shared evenly among the connections of one client."""


@pytest.fixture(scope="module")
def thirty_pods(cluster: Cluster) -> Iterator[list[str]]:
    """The ClusterIPs of a Service of 30 Pods on 3 Nodes."""
    cluster.kubectl("create", "namespace", "thirty")
    cluster.deploy("thirty", "web", replicas=30)
    cluster.expose("thirty", "web", port=80, ports=BOTH_PROTOCOLS, **DUAL)
    await_service(cluster, "thirty", "web", endpoints=30)
    yield cluster.get("service", "-n", "thirty", "web")["spec"]["clusterIPs"]
    cluster.kubectl("delete", "namespace", "thirty", "--wait=false")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_three_thousand_connections_to_thirty_pods_all_succeed_and_are_shared_evenly(
    cluster: Cluster, stage: Stage, thirty_pods: list[str], protocol: str, family: int
) -> None:
    pods = list(cluster.pods_of("thirty", "web"))
    joined = Tally()
    for client in stage.clients.values():
        count = CONNECTIONS // len(stage.clients)
        tally = many(client, protocol, (thirty_pods[family], 80), count=count, at_once=16)
        joined.answers += tally.answers
        joined.failed += tally.failed
    assert not joined.failed
    assert joined.count == CONNECTIONS
    assert even(joined.answers, pods), sorted(joined.answers.items())


@pytest.fixture(scope="module")
def everywhere(cluster: Cluster) -> Iterator[None]:
    """A host that is any number of endpoints."""
    with answering_everywhere(cluster):
        yield


def _big(count: int) -> object:
    return pytest.param(count, marks=pytest.mark.full)


@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("count", [1, 2, 9, 10, 64, 65, 257, _big(1000), _big(5000)])
def test_a_service_of_any_number_of_endpoints_uses_each_of_them_evenly(stage: Stage, count: int) -> None:
    """Over TCP and UDP; up to 257 endpoints for a single client, beyond for clients of three Nodes together."""
    name = f"of-{count}"
    v4, *_ = stage.service(name, selector=None)
    stage.cluster.apply(*slices(stage.namespace, name, count))
    _await_endpoints(stage, name, count)
    endpoints = [address_of(number) for number in range(count)]
    connections = max(count * (20 if count <= 1000 else 6), 200)
    clients = list(stage.clients.values()) if count > FEW else [stage.clients["node-1"]]
    for protocol in (FROM_NEW_PORTS, "udp"):
        answers: Counter[str] = Counter()
        for client in clients:
            tally = many(client, protocol, (v4, 80), count=connections // len(clients))
            assert not tally.failed
            answers += tally.answers
        if count == 1:
            assert set(answers) == set(endpoints)
        else:
            assert even(answers, endpoints, every=count <= 1000), (protocol, sorted(answers.items()))
    stage.remove(name)


@pytest.mark.usefixtures("everywhere")
def test_a_change_of_one_endpoint_of_a_thousand_costs_its_part_of_the_messages(stage: Stage) -> None:
    """The switch is told of some of eight thousand slots: those of the endpoint, and a few that move."""
    stage.service("thousand", selector=None)
    written = slices(stage.namespace, "thousand", 1000)
    stage.cluster.apply(*written)
    _await_endpoints(stage, "thousand", 1000)
    before = _messages(stage)
    last = written[-1]
    endpoints = last["endpoints"]
    assert isinstance(endpoints, list)
    stage.cluster.apply(last | {"endpoints": endpoints[:-1]})
    _await_endpoints(stage, "thousand", 999)
    per_protocol = (_messages(stage) - before) / 2
    assert 0 < per_protocol < 100
    stage.remove("thousand")


def _await_endpoints(stage: Stage, name: str, count: int) -> None:
    """Wait until every Node has written so many endpoints of each IPv4 port to its switch."""

    def in_place(node: str) -> bool:
        seen = ask_service(stage.cluster, node, stage.namespace, name)
        if seen is None or ask_agent(stage.cluster, node, "/v1/status")["pendingSince"] is not None:
            return False
        return [port["endpointsInUse"] for port in seen["ports"] if port["family"] == 4] == [count] * 2

    for node in stage.nodes:
        wait_until(lambda node=node: in_place(node), f"{count} endpoints on {node}")  # type: ignore[misc]


def _messages(stage: Stage) -> int:
    found: int = ask_agent(stage.cluster, "node-1", "/v1/status")["switch"]["messages"]
    return found
