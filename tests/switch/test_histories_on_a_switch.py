"""Random histories on a real switch: it ends with what was compiled, and leads packets where the rules promise."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

import pytest
from hypothesis import given, note, seed, settings

from antrea_proxy.openflow.constants import Cookie, GroupId
from antrea_proxy.openflow.events import BundleCommitted, MultipartReply
from antrea_proxy.openflow.messages import FlowDescReply, FlowDescRequest, GroupDescReply, GroupDescRequest
from antrea_proxy.pipeline.changes import difference, group_content
from antrea_proxy.pipeline.layout import GATEWAY_PORT
from antrea_proxy.pipeline.switch_trace import differences
from antrea_proxy.pipeline.units import EMPTY, Owner, Unit
from lab_traffic import even
from properties.decisions import Core
from properties.histories import Follower, History, State, histories
from properties.service_rules import INSIDE, Answer, Question
from properties.ways import NETWORK, first_packet, met, tables_of
from switch.openflow_client import OpenFlowClient
from switch.ovs import Switch
from switch.traced import add_ports, walk_and_trace, write
from worlds import CLIENT, endpoint_slice, service, world

SEED = 20260102
COUNT = 300 if settings.get_current_profile_name() == "full" else 60


@pytest.fixture(scope="module")
def node(switch: Switch) -> Switch:
    """The switch of a Node without Services."""
    add_ports(switch)
    write(switch, NETWORK)
    return switch


@pytest.mark.timeout(600)
@seed(SEED)
@settings(max_examples=COUNT)
@given(history=histories)
def test_a_real_switch_follows_any_history_and_ends_with_what_was_compiled(node: Switch, history: History) -> None:
    note(history)
    follower, state = Follower(Core(history.place)), State(history.place)
    with OpenFlowClient(node.management) as client:
        try:
            for change in history.changes:
                if messages := follower.take(change, state.apply(change)):
                    assert isinstance(client.commit(messages), BundleCommitted)
            assert _held(client) == _compiled(NETWORK | follower.units)
            _assert_led_as_promised(node, follower, state)
        finally:
            for step in difference(follower.units, dict.fromkeys(follower.units, EMPTY)):
                client.commit(step.messages)


def _assert_led_as_promised(node: Switch, follower: Follower, state: State) -> None:
    """From the Pod and through the gateway; the switch's own choice is one of the endpoints that are promised."""
    tables = tables_of(follower.units)
    for question, answer in state.promise().answers.items():
        if question.where != INSIDE or question.address.startswith("NodePort"):
            continue
        client = str(CLIENT.ipv6 if ":" in question.address else CLIENT.ipv4)
        way, traced = walk_and_trace(node, tables, first_packet(question, client))
        assert differences(way, traced) == (), traced.text
        if client not in answer.let_in:
            assert met([way]) == Answer(frozenset(), "dropped")
        elif answer.endpoints:
            assert met([way]).endpoints <= answer.endpoints
        else:
            assert met([way]).without == answer.without


def _held(client: OpenFlowClient) -> tuple[set[Cookie], dict[GroupId, bytes]]:
    flows, groups = client.ask(FlowDescRequest()), client.ask(GroupDescRequest())
    assert isinstance(flows, MultipartReply)
    assert isinstance(groups, MultipartReply)
    return (
        {entry.cookie for part in flows.parts if isinstance(part, FlowDescReply) for entry in part.flows},
        {
            entry.group_id: entry.raw
            for part in groups.parts
            if isinstance(part, GroupDescReply)
            for entry in part.groups
        },
    )


def _compiled(units: dict[Owner, Unit]) -> tuple[set[Cookie], dict[GroupId, bytes]]:
    return (
        {entry.cookie for unit in units.values() for entry in unit.flows},
        {group.group_id: group_content(group.message) for unit in units.values() for group in unit.groups},
    )


@pytest.mark.parametrize(("count", "clients"), [(2, 200), (10, 200), (1500, 100)])
def test_clients_of_a_service_with_session_affinity_are_shared_evenly_among_its_endpoints(
    node: Switch, count: int, clients: int
) -> None:
    """The switch chooses by a hash of the client's address: traced for many of them, from outside of the Pods.

    1,500 endpoints are in several groups, of which another one chooses.
    """
    web = service("web", "10.96.0.1", sessionAffinity="ClientIP")
    addresses = [f"10.20.{number >> 8}.{number & 0xFF}" for number in range(count)]
    here = world([web], [endpoint_slice("web", *((address, "web", "node-2") for address in addresses))])
    units = {owner: unit for owner, unit in here.units.items() if owner not in NETWORK}
    write(node, units)
    tables = tables_of(units)
    chosen: Counter[str] = Counter()
    for number in range(clients):
        client = str(IPv4Address("192.0.2.0") + 7 * number)
        first = first_packet(Question("10.96.0.1", "TCP", 80, INSIDE), client)
        assert first.in_port == GATEWAY_PORT
        way, traced = walk_and_trace(node, tables, first)
        assert differences(way, traced) == (), traced.text
        ((address, _),) = met([way]).endpoints
        chosen[address] += 1
    assert even(chosen, addresses, every=count < clients), chosen
    with OpenFlowClient(node.management) as cleaner:
        for step in difference(units, dict.fromkeys(units, EMPTY)):
            cleaner.commit(step.messages)
