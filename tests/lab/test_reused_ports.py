"""A client's port comes up again within a minute, directly where it was through a Service, and the reverse."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_stage import Stage, appctl
from lab_traffic import many

PORTS = (30_000, 30_999)
"""So few that every round meets the TIME-WAIT (a minute, tcp(7)) of the round before."""
IN_A_ROUND = 500
"""As many as there are even ports: Linux connects from these first."""


@pytest.mark.kernel
@pytest.mark.parametrize("server", ["server-1", "server-2"], ids=["own Node", "another Node"])
def test_a_client_port_serves_direct_connections_and_those_through_a_service_in_turn(stage: Stage, server: str) -> None:
    """The server takes what comes from a port in TIME-WAIT for its old connection, and answers with that one's numbers.

    To that answer the client's RST must find its way, and the connection tracker must not lose the new connection.
    """
    name = f"again-{server}"
    stage.cluster.run_pod(stage.namespace, name, node="node-1")
    stage.cluster.kubectl("label", "-n", stage.namespace, "pod", server, f"again={server}")
    service = stage.service(name, selector={"again": server}, endpoints=1)
    client = stage.pod(name)
    client.run(lambda: Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("{} {}".format(*PORTS)))
    for through, direct in zip(service, stage.addresses_of(server), strict=True):
        for turn in range(3):
            for target in ((through, 80), (direct, 8080)):
                tally = many(client, "tcp", target, count=IN_A_ROUND)
                assert tally.answers == {server: IN_A_ROUND}, f"{target} in turn {turn}: {tally.failed}"
    still_open = [entry for node in stage.nodes for entry in _open_connections(stage, node, stage.addresses_of(name))]
    assert not still_open, "the tracker would remember them for a day"


def _open_connections(stage: Stage, node: str, clients: list[str]) -> list[str]:
    """What a Node's tracker takes for connections that both sides still use."""
    entries = appctl(stage.cluster, node, "dpctl/dump-conntrack").splitlines()
    return [
        entry for entry in entries if "ESTABLISHED" in entry and any(f"src={address}," in entry for address in clients)
    ]
