"""A client of a Service with session affinity stays with its endpoint, for as long as the Service says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, JsonObject, Place, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, appctl, await_followed, await_service, ofctl
from lab_traffic import converse, many

NODE = "node-1"
GRACE = 2.0
"""How far from the time-out a client may be chosen afresh, in seconds (behaviour: "Session affinity")."""


def client_ip(seconds: int = 10_800) -> JsonObject:
    """Give the fields of a Service with session affinity."""
    return {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}


def _memories(stage: Stage, client: str) -> int:
    """How many Service ports of the Node's switch remember a client, by its IPv4 address."""
    return ofctl(stage.cluster, NODE, "dump-flows", "table=35").count(f"nw_src={client} ")


def _only(client: Place, address: str, *, protocol: str = "tcp", count: int = 10) -> str:
    """Connect some times and give the one endpoint that answered."""
    tally = many(client, protocol, (address, 80), count=count)
    assert not tally.failed
    (server,) = tally.answers
    return server


@pytest.fixture(scope="module")
def sticky(stage: Stage) -> Iterator[list[str]]:
    """The ClusterIPs of a Service of three servers that remembers its clients for three hours."""
    yield stage.service("sticky", endpoints=3, **client_ip())
    stage.remove("sticky")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_hundred_first_connections_at_once_of_one_client_go_to_one_endpoint(
    stage: Stage, sticky: list[str], protocol: str
) -> None:
    for client in stage.clients.values():
        for address in sticky:
            tally = many(client, protocol, (address, 80), count=100, at_once=100)
            assert not tally.failed
            assert len(tally.answers) == 1, tally.answers
            assert _only(client, address, protocol=protocol, count=20) in tally.answers


def test_a_load_balancer_ip_and_the_cluster_ip_share_what_they_remember(stage: Stage) -> None:
    addresses = stage.service("shared", endpoints=3, type="LoadBalancer", **client_ip())
    ingress = _ingress(stage, "shared")
    for client in stage.clients.values():
        for cluster_ip, balanced in zip(addresses, ingress, strict=True):
            assert _only(client, cluster_ip) == _only(client, balanced) == _only(client, cluster_ip)
    stage.remove("shared")


def _ingress(stage: Stage, name: str) -> list[str]:
    found: list[str] = []

    def given() -> bool:
        status = stage.cluster.get("service", "-n", stage.namespace, name)["status"]["loadBalancer"]
        found[:] = [point["ip"] for point in status.get("ingress", [])]
        return len(found) == 2

    wait_until(given, f"addresses of {name}")
    return sorted(found, key=lambda address: ":" in address)


def test_a_client_is_forgotten_when_its_time_is_over_since_its_last_new_connection(stage: Stage) -> None:
    """What goes over an old connection does not count, and a new connection within the time begins it anew."""
    client, timeout = stage.clients[NODE], 2
    v4, _ = stage.service("brief", endpoints=3, **client_ip(timeout))
    own, _ = stage.addresses_of(client.name)
    before = _memories(stage, own)
    first = client.get(v4, 80)
    with client.connect(v4, 80) as talk:
        assert converse(talk, "/hostname") == first
        for _ in range(3):
            time.sleep(timeout - 1)
            assert client.get(v4, 80) == first
        last = time.monotonic()
        while time.monotonic() < last + timeout - 0.5:
            assert converse(talk, "/hostname") == first
            time.sleep(0.1)
        assert _memories(stage, own) == before + 1
        while time.monotonic() < last + timeout + GRACE:
            assert converse(talk, "/hostname") == first
            time.sleep(0.1)
        assert _memories(stage, own) == before
    stage.remove("brief")


def test_after_the_time_out_clients_are_chosen_afresh(stage: Stage) -> None:
    """Six clients (three Pods, two families) with three endpoints each: that all stay has a chance of 1 in 729."""
    addresses = stage.service("afresh", endpoints=3, **client_ip(1))

    def chosen() -> dict[tuple[str, str], str]:
        return {(client.name, to): _only(client, to, count=3) for client in stage.clients.values() for to in addresses}

    before = chosen()
    time.sleep(1 + GRACE)
    later = chosen()
    if later == before:
        time.sleep(1 + GRACE)
        later = chosen()
    assert later != before
    stage.remove("afresh")


@pytest.mark.parametrize("how", [(), ("--kill",)], ids=["restarted", "killed"])
def test_clients_stay_where_they_are_over_a_restart_of_the_agent(
    cluster: Cluster, stage: Stage, sticky: list[str], how: tuple[str, ...]
) -> None:
    client = stage.clients[NODE]
    before = {address: _only(client, address) for address in sticky}
    cluster.lab("restart", "agent", NODE, *how)
    await_service(cluster, stage.namespace, "sticky", endpoints=3)
    assert {address: _only(client, address) for address in sticky} == before


def test_other_endpoints_come_and_go_unnoticed_and_whose_endpoint_goes_moves_at_once(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    for number in range(4):
        cluster.run_pod(namespace, f"web-{number}", labels={"app": "web"})
    address = cluster.expose(namespace, "web", port=80, ports=BOTH_PROTOCOLS, **DUAL, **client_ip())
    await_service(cluster, namespace, "web", endpoints=4)
    client = stage.clients[NODE]
    mine = _only(client, address)
    other, *_ = (f"web-{number}" for number in range(4) if f"web-{number}" != mine)
    cluster.kubectl("delete", "pod", "-n", namespace, other)
    cluster.run_pod(namespace, "web-9", labels={"app": "web"})
    await_service(cluster, namespace, "web", endpoints=4)
    await_followed(cluster, NODE)
    assert _only(client, address) == mine
    cluster.kubectl("delete", "pod", "-n", namespace, mine)
    await_service(cluster, namespace, "web", endpoints=3)
    await_followed(cluster, NODE)
    now = _only(client, address)
    assert now != mine
    cluster.run_pod(namespace, mine, labels={"app": "web"})
    await_service(cluster, namespace, "web", endpoints=4)
    await_followed(cluster, NODE)
    assert _only(client, address) == now, "a client that has moved stays where it is"


def test_affinity_is_switched_on_and_off_on_a_live_service(stage: Stage) -> None:
    address, *_ = stage.service("switched", endpoints=3)
    client = stage.clients[NODE]
    own, _ = stage.addresses_of(client.name)

    def spread() -> int:
        return len(many(client, "tcp", (address, 80), count=40).answers)

    before = _memories(stage, own)
    assert spread() == 3
    stage.patch("switched", **client_ip())
    wait_until(lambda: spread() == 1, "one endpoint for one client")
    assert _memories(stage, own) == before + 1
    stage.patch("switched", **client_ip(2))
    time.sleep(2 + GRACE)
    assert _memories(stage, own) == before, "the new time-out holds for whom the switch knows already"
    stage.patch("switched", sessionAffinity="None", sessionAffinityConfig=None)
    wait_until(lambda: spread() == 3, "all endpoints for one client")
    stage.remove("switched")


def test_a_client_of_a_day_is_remembered_without_a_time_out_of_the_switch(stage: Stage) -> None:
    """OpenFlow counts to 65,535 s; the agent ends what is longer."""
    v4, _ = stage.service("day", endpoints=3, **client_ip(86_400))
    _only(stage.clients[NODE], v4)
    flows = ofctl(stage.cluster, NODE, "dump-flows", "table=35").splitlines()
    assert [line for line in flows if "nw_src" in line and "idle_timeout" not in line]
    stage.remove("day")


def test_connections_of_a_client_that_is_known_do_not_go_the_slow_way(stage: Stage, sticky: list[str]) -> None:
    client = stage.clients[NODE]
    for _ in range(2):
        _only(client, sticky[0], count=50)
    before = _misses(stage.cluster)
    _only(client, sticky[0], count=500)
    assert _misses(stage.cluster) - before < 50


def _misses(cluster: Cluster) -> int:
    """Packets of a Node that its switch had no ready answer for."""
    found = re.search(r"missed:(\d+)", appctl(cluster, NODE, "dpctl/show"))
    assert found is not None
    return int(found[1])
