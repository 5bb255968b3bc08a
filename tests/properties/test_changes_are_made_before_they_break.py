"""The order of changes, on a switch in memory, over random histories of random clusters."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.base_flows import OWNER as BASE
from antrea_proxy.pipeline.base_flows import compile_base
from antrea_proxy.pipeline.changes import BUNDLE_MESSAGES, completion, difference, sweep
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.layout import Layout
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.pipeline.units import EMPTY, Owner, Unit
from antrea_proxy.proxy.load_balancers import LoadBalancerName, desired_load_balancers
from model_switch import ModelSwitch
from properties import clusters

Json = dict[str, Any]
State = tuple[list[Json], list[Json]]

states = st.tuples(clusters.services(), clusters.slices())


def cluster_of(state: State) -> ClusterState:
    cluster = ClusterState()
    cluster.list_services(msgspec.convert(state[0], list[Service]))
    cluster.list_slices(msgspec.convert(state[1], list[EndpointSlice]))
    return cluster


def units_of(state: State, ids: GroupIds[LoadBalancerName], known: set[Owner]) -> dict[Owner, Unit]:
    cluster = cluster_of(state)
    table = desired_load_balancers(cluster, cluster.services, node_name="node-1")
    units = {BASE: compile_base(Layout(gateway_mac=1, tunnel=True))} | compile_services(table, ids)
    return units | dict.fromkeys(known - units.keys(), EMPTY)


def working(units: dict[Owner, Unit]) -> set[Match]:
    """The matches that lead somewhere."""
    found = set()
    for unit in units.values():
        for entry in unit.flows:
            message, _ = decode(entry.message)
            assert isinstance(message, FlowMod)
            if message.actions:
                found.add(message.match)
    return found


@given(history=st.lists(states, min_size=2, max_size=4))
def test_what_worked_before_and_works_after_a_change_works_at_every_step_of_it(history: list[State]) -> None:
    switch, ids, installed = ModelSwitch(), GroupIds[LoadBalancerName](), dict[Owner, Unit]()
    for state in history:
        before = working(installed)
        units = units_of(state, ids, set(installed))
        constant = before & working(units)
        for step in difference(installed, units):
            switch.apply(step.messages)
            assert all(switch.balances(match) for match in constant)
        installed = {owner: unit for owner, unit in units.items() if unit != EMPTY}


@given(history=st.lists(states, min_size=2, max_size=4))
def test_a_history_of_changes_ends_in_the_same_switch_as_a_fresh_start_from_its_last_state(
    history: list[State],
) -> None:
    switch, ids, installed = ModelSwitch(), GroupIds[LoadBalancerName](), dict[Owner, Unit]()
    for state in history:
        units = units_of(state, ids, set(installed))
        for step in difference(installed, units):
            switch.apply(step.messages)
        installed = {owner: unit for owner, unit in units.items() if unit != EMPTY}
    fresh = ModelSwitch()
    for step in difference({}, units_of(history[-1], ids, set())):
        fresh.apply(step.messages)
    assert (switch.flows, switch.groups) == (fresh.flows, fresh.groups)


@given(before=states, after=states)
def test_a_restart_writes_what_differs_and_sweeps_the_rest_while_what_is_common_goes_on_working(
    before: State, after: State
) -> None:
    switch, ids = ModelSwitch(), GroupIds[LoadBalancerName]()
    old = units_of(before, ids, set())
    for step in difference({}, old):
        switch.apply(step.messages)
    new = units_of(after, ids, set())
    constant = working(old) & working(new)
    present = frozenset(switch.cookies), dict(switch.groups)
    for step in (*completion(*present, new), *sweep(*present, new)):
        switch.apply(step.messages)
        assert all(switch.balances(match) for match in constant)
    fresh = ModelSwitch()
    for step in difference({}, new):
        fresh.apply(step.messages)
    assert (switch.flows, switch.groups) == (fresh.flows, fresh.groups)
    assert completion(switch.cookies, switch.groups, new) == sweep(switch.cookies, switch.groups, new) == []


@given(state=states)
def test_no_bundle_is_larger_than_forwarding_can_bear(state: State) -> None:
    steps = difference({}, units_of(state, GroupIds(), set()))
    assert all(len(step.messages) <= BUNDLE_MESSAGES for step in steps)
