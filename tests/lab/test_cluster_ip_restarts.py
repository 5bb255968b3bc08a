"""The agent stops, dies or starts, and traffic goes on; the switch comes back by itself."""

from __future__ import annotations

import os
import signal
import time

import pytest

from lab_cluster import PATIENCE, Cluster, Place, wait_until
from lab_stage import Stage, appctl, ask_agent, synchronisations
from lab_traffic import steady, unharmed

pytestmark = pytest.mark.cluster_ip

LONGEST_S = 3.0
"""Until all is back after a restart of the switch: the agent asks for it at least every 2 s. Seen: 0.05 to 0.9 s."""


@pytest.fixture(scope="module")
def addresses(stage: Stage) -> list[str]:
    """ClusterIPs of a Service with one endpoint on each Node."""
    return stage.service("lasting", endpoints=len(stage.nodes))


@pytest.mark.parametrize("how", [(), ("--kill",)], ids=["SIGTERM", "SIGKILL"])
def test_no_connection_new_or_old_is_harmed_by_a_restart_of_the_agent(
    cluster: Cluster, stage: Stage, addresses: list[str], how: tuple[str, ...]
) -> None:
    before = len(synchronisations(cluster, "node-1"))
    with unharmed(stage.clients["node-1"], addresses, stage.servers, rate=150):
        cluster.lab("restart", "agent", "node-1", *how)
        wait_until(lambda: len(synchronisations(cluster, "node-1")) > before, "agent at work again")
        time.sleep(0.5 * PATIENCE)
    assert synchronisations(cluster, "node-1")[before:] == [0], "messages to a switch that holds all already"


def test_a_stopped_agent_is_not_missed(cluster: Cluster, stage: Stage, addresses: list[str]) -> None:
    """An agent that hangs answers nobody, and so every packet that needed it would show."""
    client = stage.clients["node-2"]
    pid = _agent_pid(cluster, "node-2")
    os.kill(pid, signal.SIGSTOP)
    try:
        with steady(client, "tcp", (addresses[0], 80)) as tcp, steady(client, "udp", (addresses[1], 80)) as udp:
            time.sleep(1 * PATIENCE)
            for tally in (tcp.result(), udp.result()):
                assert not tally.failed
                assert set(tally.answers) == set(stage.servers)
        with pytest.raises(ConnectionRefusedError):
            client.get(addresses[0], 81)
    finally:
        os.kill(pid, signal.SIGCONT)


def _agent_pid(cluster: Cluster, node: str) -> int:
    (pid,) = (entry["agent"]["pid"] for entry in cluster.status()["nodes"] if entry["name"] == node)
    assert isinstance(pid, int)
    return pid


@pytest.mark.parametrize("how", [(), ("--kill",)], ids=["SIGTERM", "SIGKILL"])
def test_after_a_restart_of_the_switch_everything_comes_back_by_itself(
    cluster: Cluster, stage: Stage, addresses: list[str], how: tuple[str, ...]
) -> None:
    pid = appctl(cluster, "node-3", "version") and _switch_pid(cluster, "node-3")
    cluster.lab("restart", "switch", "node-3", *how)
    assert _switch_pid(cluster, "node-3") != pid
    client = stage.clients["node-3"]
    targets = [(address, 80) for address in addresses]
    targets += [(address, 8080) for server in stage.servers for address in stage.addresses_of(server)]
    wait_until(lambda: all(_reached(client, *target) for target in targets), "all reached again", seconds=LONGEST_S)
    wait_until(lambda: ask_agent(cluster, "node-3", "/v1/status")["phase"] == "running", "agent content")
    theirs = [(other, address) for other in stage.clients.values() for address in stage.addresses_of("server-3")]
    wait_until(
        lambda: all(_reached(other, address, 8080) for other, address in theirs), "reached by all", seconds=LONGEST_S
    )


def _switch_pid(cluster: Cluster, node: str) -> str:
    return (cluster.places.node(node).ovs / "ovs-vswitchd.pid").read_text().strip()


def _reached(client: Place, address: str, port: int) -> bool:
    try:
        return bool(client.get(address, port, timeout=0.5))
    except OSError:
        return False
