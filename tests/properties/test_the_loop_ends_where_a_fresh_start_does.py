"""The agent's loop over random histories of random clusters, on a switch that is lost and that refuses at random."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_loop import Loop, refuse_address
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.units import Owner
from model_switch import ModelSwitch
from model_switch_async import Fault
from properties import clusters
from properties.histories import NOW
from switch_meaning import meaning, numbered

Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """A state of the cluster, and what goes wrong while the switch is brought to it."""

    services: list[Json]
    slices: list[Json]
    faults: list[Fault]
    refused_address: str | None
    away: bool


turns = st.builds(
    Turn,
    services=clusters.services(),
    slices=clusters.slices(),
    faults=st.lists(st.sampled_from(Fault), max_size=4),
    refused_address=st.sampled_from([None, None, "10.96.0.1", "10.96.0.2"]),
    away=st.booleans(),
)


def working(model: ModelSwitch) -> set[Match]:
    """The matches that lead somewhere."""
    return {key[2] for key, flow in model.flows.items() if flow.actions}


def owned(loop: Loop) -> set[tuple[Owner, Match]]:
    """The matches that lead somewhere, each with its owner, as the agent knows them."""
    found = set()
    for owner, unit in loop.last().installed.items():
        for entry in unit.flows:
            message, _ = decode(entry.message)
            if isinstance(message, FlowMod) and message.actions and not numbered(message.match):
                found.add((owner, message.match))
    return found


async def fresh(turn: Turn) -> Loop:
    """The loop after a start from nothing."""
    loop = Loop()
    loop.list(turn.services, turn.slices)
    async with loop.running():
        return loop


async def live(history: list[Turn]) -> None:
    """Go through a history; what an owner has before and after a turn, it has at every commit of it."""
    loop = Loop()
    async with loop.running():
        for turn in history:
            other = await fresh(turn)
            constant = {match for _, match in owned(loop) & owned(other)}
            broken: list[Match] = []
            loop.switch.looked = partial(look, loop, constant, broken)
            loop.switch.faults = list(turn.faults)
            if turn.refused_address is not None:
                loop.switch.refuses = refuse_address(turn.refused_address)
            if turn.away:
                loop.switch.lose()
            loop.list(turn.services, turn.slices)
            await loop.settled()
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: not loop.last().problem and loop.last().pending_since is None)
            assert not broken
            assert meaning(loop.switch.model) == meaning(other.switch.model)
            assert loop.switch.model.cookies == {
                entry.cookie for unit in loop.last().installed.values() for entry in unit.flows
            }


def look(loop: Loop, constant: set[Match], broken: list[Match]) -> None:
    """Note what should work at this instant and does not."""
    broken += constant - working(loop.switch.model)


@settings(max_examples=25)
@given(history=st.lists(turns, min_size=1, max_size=4))
def test_any_history_with_any_faults_ends_as_a_fresh_start_does_and_breaks_nothing_on_its_way(
    history: list[Turn],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: NOW)  # the epochs of session affinity turn with it
        asyncio.run(live(history))
