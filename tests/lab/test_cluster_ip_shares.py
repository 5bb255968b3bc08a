"""Every endpoint of a Service has its fair share of the connections, however many endpoints there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, JsonObject
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, await_service, slice_object
from lab_traffic import Tally, even, many

CONNECTIONS = 3000


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


def _ports_of_one_pod(stage: Stage, count: int) -> list[JsonObject]:
    """Endpoints without Pods of their own: one Pod that listens on many ports, each of which says its number."""
    containers = [
        {"name": f"c{n}", "image": "pod-server", "args": ["--port", str(10_000 + n), "--hostname", str(10_000 + n)]}
        for n in range(count)
    ]
    stage.cluster.run_pod(stage.namespace, f"ports-{count}", node="node-2", containers=containers)
    return [{"name": "http", "port": 10_000 + number} for number in range(count)]


@pytest.mark.parametrize("count", [40, pytest.param(300, marks=pytest.mark.full)])
def test_a_service_of_many_endpoints_uses_each_of_them_evenly(stage: Stage, count: int) -> None:
    cluster, namespace, name = stage.cluster, stage.namespace, f"many-{count}"
    ports = _ports_of_one_pod(stage, count)
    address, *_ = stage.service(name, selector=None, ports=[{"name": "http", "port": 80}])
    pod_address, *_ = stage.addresses_of(f"ports-{count}")
    cluster.apply(
        *(
            slice_object(namespace, name, f"{name}-{port['port']}", addresses=[pod_address], ports=[port])
            for port in ports
        )
    )
    await_service(cluster, namespace, name)
    # The IPv6 half of the Service has no endpoints, so not every port can be awaited by its number.
    # One client has some 14,000 ports to choose from: a second connection from a port has the first one's endpoint.
    joined = Tally()
    for client in stage.clients.values():
        tally = many(client, "tcp", (address, 80), count=10 * count)
        joined.answers += tally.answers
        joined.failed += tally.failed
    assert not joined.failed
    assert even(joined.answers, [str(port["port"]) for port in ports]), sorted(joined.answers.items())
    cluster.kubectl("delete", "-n", namespace, f"pod/ports-{count}", f"service/{name}", "--wait=false")
