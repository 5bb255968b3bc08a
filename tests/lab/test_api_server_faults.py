"""An API server in trouble: traffic goes on, and what was changed meanwhile arrives when the trouble is over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from antrea_proxy.lab.fault import Fault
from lab_cluster import service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, ask_agent, await_followed, await_service

RECOVERY_S = 60.0
"""An agent waits up to 30 s between two tries, and a little for the list."""
TOLD = {Fault.GONE: "410", Fault.BUSY: "429", Fault.BROKEN: "500", Fault.FORBID: "403"}
"""What an agent's status says meanwhile, where the server gives a reason."""


@contextlib.contextmanager
def _fault(stage: Stage, fault: Fault) -> Iterator[None]:
    stage.cluster.lab("fault", fault.value)
    try:
        yield
    finally:
        stage.cluster.lab("fault", "off")


@contextlib.contextmanager
def _without(stage: Stage, server: str) -> Iterator[None]:
    """Take a server out of the Services of the stage, for the block."""
    label = ("label", "pod", "-n", stage.namespace, server, "--overwrite")
    stage.cluster.kubectl(*label, "app=none")
    try:
        yield
    finally:
        stage.cluster.kubectl(*label, "app=server")


def _is_told(stage: Stage, code: str) -> bool:
    """Whether an agent's status says of a source that the server answered so."""
    sources = [item for node in stage.nodes for item in ask_agent(stage.cluster, node, "/v1/status")["sources"]]
    return any(f" with {code} " in item["lastError"] for item in sources if item["connectedSince"] is None)


def _answers(stage: Stage, address: str) -> set[str]:
    """Connect from every Node; nothing may fail. Gives who answered."""
    names: set[str] = set()
    for client in stage.clients.values():
        tally = client.connect_many(address, 80, count=20)
        assert not tally.failed
        names |= set(tally.hostnames)
    return names


def test_an_agent_of_a_server_without_streaming_lists_lists_as_before(stage: Stage) -> None:
    cluster, node = stage.cluster, stage.nodes[0]
    address = stage.service("listed", endpoints=3)[0]
    with _fault(stage, Fault.NO_WATCH_LIST):
        cluster.lab("restart", "agent", node)
        wait_until(lambda: ask_agent(cluster, node, "/v1/status")["phase"] == "running", "the agent is at work")
        sources = ask_agent(cluster, node, "/v1/status")["sources"]
        assert {(source["synced"], source["relists"]) for source in sources} == {(True, 0)}
        assert not any(source["lastError"] for source in sources)
        assert _answers(stage, address) == set(stage.servers)
    stage.remove("listed")


@pytest.mark.parametrize("fault", list(Fault))
def test_traffic_goes_on_and_changes_arrive_after(stage: Stage, fault: Fault) -> None:
    """A Service of before answers all the time; one that was made in the fault is served once it is over."""
    before, during = f"before-{fault}", f"during-{fault}"
    address = stage.service(before, endpoints=3)[0]
    with _fault(stage, fault):
        assert fault.meaning in " ".join(stage.cluster.status()["notes"])
        body = {"selector": {"app": "server"}, "ports": BOTH_PROTOCOLS, **DUAL}
        stage.cluster.apply(service_object(stage.namespace, during, port=80, **body))
        ends = time.monotonic() + 2
        while time.monotonic() < ends:
            assert _answers(stage, address) == set(stage.servers)
        if fault in TOLD:  # by whoever tries first: an agent that has failed for long waits for long
            wait_until(lambda: _is_told(stage, TOLD[fault]), f"{fault} told by an agent", seconds=RECOVERY_S)
    await_service(stage.cluster, stage.namespace, during, endpoints=3, seconds=RECOVERY_S)
    assert _answers(stage, stage.cluster_ips(during)[0]) == set(stage.servers)
    assert stage.cluster.status()["notes"] == []
    stage.remove(before, during)


def test_a_missing_right_is_told_with_the_rule_to_add_and_all_is_followed_again_when_it_is_there(stage: Stage) -> None:
    """What is forbidden alone stands still: the other kinds are followed meanwhile."""
    cluster, node = stage.cluster, stage.nodes[0]
    address = stage.service("granted", endpoints=3)[0]

    def slices() -> str:
        sources = {item["kind"]: item for item in ask_agent(cluster, node, "/v1/status")["sources"]}
        assert sources["Service"]["connectedSince"] is not None or "403" not in sources["Service"]["lastError"]
        told: str = "" if sources["EndpointSlice"]["connectedSince"] else sources["EndpointSlice"]["lastError"]
        return told

    with contextlib.ExitStack() as stack:
        with _fault(stage, Fault.FORBID):
            wait_until(lambda: "403" in slices(), "the refusal is told")
            told = slices()
            assert 'User "admin" cannot ' in told
            assert 'resource "endpointslices" in API group "discovery.k8s.io" at the cluster scope' in told
            rule = '{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list, watch]}'
            assert f"add to a ClusterRole of the user of kubeconfig {cluster.places.node(node).kubeconfig}" in told
            assert rule in told
            assert told.replace('"', '\\"') in cluster.places.node(node).agent_log.read_text()
            stack.enter_context(_without(stage, stage.servers[0]))
            assert _answers(stage, address) == set(stage.servers)
        await_service(cluster, stage.namespace, "granted", endpoints=2, seconds=RECOVERY_S)
        await_followed(cluster, *stage.nodes)
        assert _answers(stage, address) == set(stage.servers[1:])
    await_service(cluster, stage.namespace, "granted", endpoints=3)
    stage.remove("granted")
