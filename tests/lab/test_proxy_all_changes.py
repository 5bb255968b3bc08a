"""NodePorts and addresses of other Services change, and agents die, while clients outside ask at untouched ones."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import pytest

from lab_cluster import PATIENCE, JsonObject, service_object, wait_until
from lab_entry import NAMESPACE, Entry, node_address
from lab_stage import DUAL
from lab_traffic import SteadyLoad, steady

AT_ONCE = 50


def changing(number: int, turn: int) -> JsonObject:
    """Give a Service whose NodePorts and external IPs are others in every turn."""
    ports = [{"port": 80, "targetPort": 8080, "nodePort": 31_000 + number * 2 + turn % 2}]
    addresses = [f"172.31.0.{100 + (number + turn * 7) % 150}", f"fd00:31::{100 + (number + turn * 7) % 150}"]
    spec = {"type": "NodePort", "selector": {"app": "pod"}, "ports": ports, "externalIPs": addresses, **DUAL}
    return service_object(NAMESPACE, f"changing-{number}", port=80, **spec)


@contextlib.contextmanager
def asked_from_outside(entry: Entry) -> Iterator[list[SteadyLoad]]:
    """Ask all the time, by way of both Nodes: NodePorts, load-balancer IPs and external IPs that stay."""
    client = entry.cluster.client()
    entry.cluster.lab("route", "client-1", "--via", "node-1,node-2")
    targets = [
        ("tcp", node_address("node-1", 4), entry.node_port("pod-cluster", "tcp")),
        ("udp", node_address("node-2", 6), entry.node_port("pod-cluster", "udp")),
        ("tcp", entry.addresses("pod-cluster")["load-balancer IP"][1], 80),
        ("tcp", entry.addresses("host-cluster")["external IP"][0], 80),
    ]
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(steady(client, protocol, (address, port), rate=40 / PATIENCE))
            for protocol, address, port in targets
        ]


def settled_with(entry: Entry, numbers: range, turn: int) -> None:
    """Wait until node-1 has all NodePorts of a turn and no other of these Services."""
    node = entry.cluster.node("node-1")
    ports = {str(port["nodePort"]) for number in numbers for port in changing(number, turn)["spec"]["ports"]}
    others = {str(port["nodePort"]) for number in numbers for port in changing(number, turn + 1)["spec"]["ports"]}

    def held() -> bool:
        shown = node.command("nft", "list", "set", "inet", "antrea-proxy", "node_ports_v4").stdout
        return all(f" {port}" in shown for port in ports) and not any(f" {port}" in shown for port in others)

    wait_until(held, "the NodePorts of the last turn, and no others", seconds=40)


def remove_all(entry: Entry, numbers: range) -> None:
    """Remove the Services again."""
    names = [f"changing-{number}" for number in numbers]
    entry.cluster.kubectl("delete", "service", "-n", NAMESPACE, *names)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("changes", [200, pytest.param(1000, marks=pytest.mark.full)])
def test_no_connection_at_an_untouched_service_fails_while_others_change(proxy_all: Entry, changes: int) -> None:
    numbers = range(AT_ONCE)
    with asked_from_outside(proxy_all) as loads:
        for turn in range(changes // AT_ONCE):
            proxy_all.cluster.apply(*(changing(number, turn) for number in numbers))
        settled_with(proxy_all, numbers, changes // AT_ONCE - 1)
        tallies = [load.result() for load in loads]
    remove_all(proxy_all, numbers)
    for tally in tallies:
        assert not tally.failed
        assert set(tally.answers) <= {"pod", "host"}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.full)])
def test_an_agent_that_is_killed_at_any_instant_leaves_traffic_unharmed_and_the_next_repairs_all(
    proxy_all: Entry, kills: int
) -> None:
    numbers, instants = range(10), random.Random(4)
    with asked_from_outside(proxy_all) as loads:
        for turn in range(kills):
            proxy_all.cluster.apply(*(changing(number, turn) for number in numbers))
            time.sleep(instants.uniform(0, 0.3))
            proxy_all.cluster.lab("restart", "agent", "node-1", "--kill")
        settled_with(proxy_all, numbers, kills - 1)
        tallies = [load.result() for load in loads]
    remove_all(proxy_all, numbers)
    assert [tally.failed for tally in tallies] == [{}] * len(tallies)
    proxy_all.settle()
