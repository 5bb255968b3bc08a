"""The proxy switched off and on again on a running cluster: Services are then the Node's own network stack's affair."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from lab_cluster import PATIENCE, JsonObject, running_cluster
from lab_kube_proxy import ClusterIp, kube_proxy_rules
from lab_stage import Stage, ask_agent, await_service, await_state, ofctl, reconfigured
from lab_traffic import even, many, talking

SERVICE_TABLES = (30, 40)
PASSING_ON = 2
"""Flows of these tables that are no Service's: each passes on what is left."""
MODES = {
    "encap, antreaProxy.enable": ((), {"antreaProxy": {"enable": False}}),
    "noEncap, featureGates.AntreaProxy": (("--encap-mode", "noEncap"), {"featureGates": {"AntreaProxy": False}}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A lab of two Nodes, with a client and a server on each, a Service `web` of both, and how its proxy is put off."""

    stage: Stage
    addresses: Sequence[str]
    off: JsonObject


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    arguments, off = request.param
    with running_cluster("--nodes", "2", *arguments) as cluster:
        stage = Stage(cluster, "stage")
        yield Other(stage=stage, addresses=stage.service("web", endpoints=2), off=off)


@pytest.fixture(scope="module")
def off(other: Other) -> Iterator[Other]:
    """The same with the proxy off."""
    with _switched_off(other):
        yield other


@contextlib.contextmanager
def _switched_off(other: Other) -> Iterator[None]:
    stage = other.stage
    with reconfigured(stage.cluster, *stage.nodes, **other.off):
        for node in stage.nodes:
            await_state(stage.cluster, node, stage.namespace, "web", "leftAlone")
        yield
    await_service(stage.cluster, stage.namespace, "web", endpoints=2)


@contextlib.contextmanager
def _somebody_elses(other: Other, servers: Sequence[str]) -> Iterator[None]:
    """Balance the addresses of `web` over the servers, by rules in every Node's own stack."""
    stage = other.stage
    endpoints = list(itertools.chain.from_iterable(map(stage.addresses_of, servers)))
    services = [
        ClusterIp(address=address, port=80, endpoints=[end for end in endpoints if (":" in end) == (":" in address)])
        for address in other.addresses
    ]
    with contextlib.ExitStack() as stack:
        for node in stage.cluster.get("nodes")["items"]:
            place = stage.cluster.node(node["metadata"]["name"])
            stack.enter_context(kube_proxy_rules(place, services, pod_cidrs=node["spec"]["podCIDRs"]))
        yield


def _assert_answered_by(other: Other, servers: Sequence[str]) -> None:
    for client, address, protocol in itertools.product(other.stage.clients.values(), other.addresses, ("tcp", "udp")):
        tally = many(client, protocol, (address, 80), count=60)
        assert not tally.failed, f"{client.name} to {address} over {protocol}"
        assert set(tally.answers) == set(servers), f"{client.name} to {address} over {protocol}"


def test_connections_survive_the_proxy_being_switched_off_and_on_again(other: Other) -> None:
    """Those from before through the switch's translation, those of the meantime through the Node's."""
    pairs = list(itertools.product(other.stage.clients.values(), other.addresses))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_somebody_elses(other, other.stage.servers))
        loads = [stack.enter_context(talking(client, (address, 80), connections=4)) for client, address in pairs]
        with _switched_off(other):
            loads += [stack.enter_context(talking(client, (address, 80), connections=4)) for client, address in pairs]
            time.sleep(0.5 * PATIENCE)
        time.sleep(0.5 * PATIENCE)
        conversations = [each for load in loads for each in load.result()]
    assert {each.server for each in conversations} == set(other.stage.servers)
    for each in conversations:
        assert not each.broken, each
        assert each.turns > 10, each
    _assert_answered_by(other, other.stage.servers)


def test_with_the_proxy_off_the_switch_holds_no_service_and_nobody_answers(off: Other) -> None:
    """The agent says why, and Pods reach each other as before."""
    stage = off.stage
    for node, client in stage.clients.items():
        dumped = "".join(ofctl(stage.cluster, node, "dump-flows", f"table={table}") for table in SERVICE_TABLES)
        assert dumped.count("cookie=") == PASSING_ON, dumped
        services = {item["name"]: item for item in ask_agent(stage.cluster, node, "/v1/services")["items"]}
        assert {item["state"] for item in services.values()} == {"leftAlone"}
        assert services["web"]["reason"].startswith("the proxy is off (")
        for address in off.addresses:
            with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
                client.get(address, 80, timeout=0.5)
        for server in stage.servers:
            assert client.get(stage.addresses_of(server)[0], 8080) == server


def test_with_the_proxy_off_the_nodes_own_rules_serve_clients_of_the_same_node_and_of_others(off: Other) -> None:
    """Who answers is who the rules say; one server at first, on the Node of one client and not of the other."""
    stage = off.stage
    for server in stage.servers:
        with _somebody_elses(off, [server]):
            _assert_answered_by(off, [server])
            for address in off.addresses:
                assert stage.pod(server).get(address, 80) == server, "a Pod reaches itself"
                assert stage.pod(server).ask_udp(address, 80) == server, "a Pod reaches itself"
    with _somebody_elses(off, stage.servers):
        for client, address in itertools.product(stage.clients.values(), off.addresses):
            assert even(many(client, "tcp", (address, 80), count=300).answers, stage.servers)
            own = next(ip for ip in stage.addresses_of(client.name) if (":" in ip) == (":" in address))
            assert own in client.get(address, 80, "/clientip"), "the client's address is kept"
            assert len(client.get(address, 80, "/bytes?n=300000", timeout=10)) == 300_000
        for node, address in itertools.product(stage.nodes, off.addresses):
            assert stage.cluster.node(node).get(address, 80) in stage.servers, "from the Node itself"
