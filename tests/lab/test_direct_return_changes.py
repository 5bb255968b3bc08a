"""Long connections in direct server return, while endpoints, Nodes with endpoints, ingress Nodes and agents change."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator

import pytest

from lab_cluster import PATIENCE
from lab_direct import CROWD, SPARE, Direct
from lab_traffic import Conversation, steady, talking

SECONDS_AT_ONE_NODE = 1.0
SPARES = list(SPARE)


@contextlib.contextmanager
def ingress_moving(direct: Direct) -> Iterator[None]:
    """Lead the client's packets through another Node every second, as a router does that loses one of its paths."""
    done = threading.Event()

    def move() -> None:
        for node in itertools.cycle(direct.stage.nodes):
            direct.route(node)
            if done.wait(SECONDS_AT_ONE_NODE):
                return

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def change(direct: Direct, turn: int) -> None:
    """Give one Pod more the Service's label, or take it from one: node-3 has endpoints for a while, and then none."""
    round_of, place = divmod(turn, len(SPARES))
    direct.label("spare" if round_of % 2 else "crowd", SPARES[place])


def end_changes(direct: Direct) -> None:
    """Take the label from all spare Pods."""
    direct.label("spare", *SPARES)


def broken(conversations: list[Conversation]) -> list[Conversation]:
    """Give those with endpoints that were there all the time that did not come to a good end."""
    return [item for item in conversations if item.server in CROWD and (item.broken or item.turns < 10)]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("connections", "changes"),
    [pytest.param(40, 24, id="some"), pytest.param(200, 200, id="many", marks=pytest.mark.full)],
)
def test_no_connection_breaks_while_endpoints_and_nodes_come_and_go_and_the_ingress_moves_every_second(
    direct: Direct, connections: int, changes: int
) -> None:
    with (
        direct.service(app="crowd", endpoints=4) as (_, (v4, v6)),
        ingress_moving(direct),
        talking(direct.client, (v4, 80), connections=connections) as long_ones,
        talking(direct.client, (v6, 80), connections=connections) as long_ones_v6,
        steady(direct.client, "tcp", (v4, 80), rate=30 / PATIENCE) as new_ones,
    ):
        for turn in range(changes):
            change(direct, turn)
        end_changes(direct)
        conversations = [*long_ones.result(), *long_ones_v6.result()]
        tally = new_ones.result()
    assert not broken(conversations)
    assert {item.server for item in conversations} >= set(CROWD)
    assert not tally.failed
    assert set(tally.answers) <= {*CROWD, *SPARE}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["agent", "agent, killed"])
def test_connections_outlive_agents_that_restart_while_slots_move(direct: Direct, how: str) -> None:
    """Who had which slot before is in the switch: a connection begun before the agent is known after it."""
    kill = ["--kill"] if "killed" in how else []
    with (
        direct.service(app="crowd", endpoints=4) as (_, (v4, _)),
        ingress_moving(direct),
        talking(direct.client, (v4, 80), connections=40) as long_ones,
    ):
        for turn, node in enumerate(direct.stage.nodes):
            change(direct, turn)
            direct.cluster.lab("restart", "agent", node, *kill)
        end_changes(direct)
        conversations = list(long_ones.result())
    assert not broken(conversations)
