"""Random histories of changes: after each of them the Node does what the rules promise of the cluster as it is then."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, note, seed, settings

from antrea_proxy.pipeline.units import Owner, Unit
from model_switch import ModelSwitch
from properties.decisions import Core
from properties.histories import Follower, History, State, histories
from properties.service_rules import Answer, Question
from properties.ways import assert_met, assert_others_are_left, assert_remembered, tables_of

SEED = 20260101
COUNT = 10_000 if settings.get_current_profile_name() == "full" else 200


def _all_messages(units: Mapping[Owner, Unit]) -> list[bytes]:
    """Groups first, as flows name them."""
    groups = [group.message for unit in units.values() for group in unit.groups]
    return [*groups, *(entry.message for unit in units.values() for entry in unit.flows)]


def _has_flow(question: Question) -> bool:
    """NodePorts are the host's business first."""
    return not question.address.startswith("NodePort")


@pytest.mark.timeout(3600)
@seed(SEED)
@settings(max_examples=COUNT)
@given(history=histories)
def test_after_every_change_packets_meet_what_the_rules_promise(history: History) -> None:
    """And the end of any history is what a start from its last state would make."""
    note(history)
    follower, state, switch = Follower(Core(history.place)), State(history.place), ModelSwitch()
    before: dict[Question, Answer] = {}
    for change in history.changes:
        content = state.apply(change)
        switch.apply(follower.take(change, content))
        promised = state.promise()
        assert follower.core.answers() == promised.answers
        assert follower.core.complaining() == promised.complaining
        changed = [key for key, answer in promised.answers.items() if before.get(key) != answer and _has_flow(key)]
        assert_met(tables_of(follower.units), promised, changed)
        before = promised.answers
    tables = tables_of(follower.units)
    assert_met(tables, promised, filter(_has_flow, promised.answers))
    assert_others_are_left(tables, promised)
    for load_balancer in follower.core.decisions.load_balancers.values():
        assert_remembered(tables, load_balancer)
    anew = ModelSwitch()
    anew.apply(_all_messages(follower.started_anew(state)))
    assert (switch.flows, switch.groups) == (anew.flows, anew.groups)
