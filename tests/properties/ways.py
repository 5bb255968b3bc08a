"""Packets through compiled tables, held against what the oracle promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Resubmit, SetField
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.registers import BALANCER, SLOT, Source
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, OwnerKind, Unit, flow
from antrea_proxy.pipeline.walk import walk_every_way
from antrea_proxy.pipeline.walk_steps import Learned, Walk, Wrote
from antrea_proxy.proxy.load_balancers import LoadBalancer, Outcome
from properties import clusters
from properties.service_rules import CLIENTS, INSIDE, Answer, Promise, Question
from worlds import CLIENT, network, packet

OUTSIDE_PORT: Final = 99
"""A port of the tests' own, of which all that comes is from beyond the Node."""

_PROTOCOLS: Final = {"TCP": fields.IP_PROTO_TCP, "UDP": fields.IP_PROTO_UDP}
IPV4: Final = 4
_LEARNED: Final = Owner(OwnerKind.AFFINITY, "learned")
_TEST: Final = Owner(OwnerKind.NODE, "outside")
NETWORK: Final = compile_network(network()) | {
    _TEST: Unit(
        flows=(
            flow(
                _TEST,
                Table.CLASSIFIER,
                100,
                Match((fields.IN_PORT, OUTSIDE_PORT)),
                [Source.OUTSIDE.load, Resubmit(Table.CONNTRACK.id)],
            ),
        )
    )
}
"""node-1 with its Pods, and a port for clients outside."""


def tables_of(units: Mapping[Owner, Unit]) -> CompiledTables:
    """The tables of node-1 with these units of Services."""
    return CompiledTables(NETWORK | dict(units))


def first_packet(question: Question, client: str) -> Packet:
    """The first packet of a connection: from a Pod of this Node, through the gateway, or from outside."""
    first = packet(CLIENT, question.address, question.port, protocol=_PROTOCOLS[question.protocol])
    if question.where != INSIDE:
        return replace(first, source=ip_address(client), in_port=OUTSIDE_PORT)
    if client in {str(CLIENT.ipv4), str(CLIENT.ipv6)}:
        return first
    return replace(first, source=ip_address(client), in_port=GATEWAY_PORT)


def assert_met(tables: CompiledTables, promised: Promise, questions: Iterable[Question]) -> None:
    """Assert that every client of these addresses and ports meets what was promised."""
    for question in questions:
        answer = promised.answers[question]
        for client in _clients(question, answer):
            ways = list(walk_every_way(tables, first_packet(question, client)))
            assert met(ways) == _expected(answer, client), (question, client)
            if answer.affinity and answer.endpoints and client in answer.let_in:
                assert all(any(isinstance(event, Learned) for event in way.events) for way in ways), question


def assert_others_are_left(tables: CompiledTables, promised: Promise) -> None:
    """Assert that what nobody serves is refused at a ClusterIP, and everywhere else passed on to the Node."""
    for address in dict.fromkeys(str(ip_address(text)) for text in (*clusters.CLUSTER_IPS, *clusters.EXTERNAL_IPS)):
        for port, protocol in ((80, "TCP"), (999, "UDP")):
            question = Question(address, protocol, port, INSIDE)
            if question not in promised.answers:
                ways = list(walk_every_way(tables, packet(CLIENT, address, port, protocol=_PROTOCOLS[protocol])))
                expected = (REFUSE_PORT,) if address in promised.refusing else (GATEWAY_PORT,)
                assert [way.ports for way in ways] == [expected], question
                assert not translated(ways)


def assert_remembered(tables: CompiledTables, load_balancer: LoadBalancer) -> None:
    """Assert that a client whose endpoint the switch has learned meets it, and no other, at each of the addresses.

    One whose endpoint is gone may meet any.
    """
    port = load_balancer.port
    client = str(CLIENT.ipv4 if port.family == IPV4 else CLIENT.ipv6)
    packets = [
        first_packet(Question(str(item.address), port.protocol.name, item.port, INSIDE), client)
        for item in port.frontends
        if item.address is not None and item.source_ranges is None and item.inside is load_balancer.scope
    ]
    if not packets or not port.affinity or load_balancer.outcome is not Outcome.BALANCED:
        return
    for way in walk_every_way(tables, packets[0]):
        balancer, slot = _choice(way)
        remembering = tables.plus(_LEARNED, Unit(flows=(_learned(packets[0], balancer, slot),)))
        for again in packets:
            (only,) = walk_every_way(remembering, again)
            assert translated([only]) == translated([way])
    gone = tables.plus(_LEARNED, Unit(flows=(_learned(packets[0], balancer, 0xFFFF_FFFF),)))
    assert len(translated(walk_every_way(gone, packets[0]))) == load_balancer.used_count


def _choice(way: Walk) -> tuple[int, int]:
    """The load balancer, and the number of the endpoint that it chose."""
    written = {event.field: event.value for event in way.events if isinstance(event, Wrote) and event.value}
    return written[BALANCER], written[SLOT]


def _learned(packet: Packet, balancer: int, slot: int) -> FlowEntry:
    """The flow that remembers a client."""
    assert packet.source is not None
    source = fields.IPV4_SRC if packet.source.version == IPV4 else fields.IPV6_SRC
    match = Match((BALANCER, balancer), (fields.ETH_TYPE, packet.eth_type), (source, int(packet.source)))
    return flow(_LEARNED, Table.AFFINITY, 100, match, [SetField(SLOT, slot)])


def met(ways: Iterable[Walk]) -> Answer:
    """What the packets of all ways came to."""
    ways = list(ways)
    assert not [text for way in ways for text in way.uncertain]
    reached = translated(ways)
    if reached:
        assert all(len(way.connections.known) == 1 for way in ways)
        return Answer(reached)
    (way,) = ways
    if way.ports == (REFUSE_PORT,):
        return Answer(frozenset(), "refused")
    assert way.drop is not None
    assert way.drop[0].title == Table.SERVICE_LB.title
    return Answer(frozenset(), "dropped")


def translated(ways: Iterable[Walk]) -> frozenset[tuple[str, int]]:
    """The endpoints to which the connections of all ways were translated."""
    return frozenset(
        (_address(connection.reply.source, way.packet.eth_type), connection.reply.source_port)
        for way in ways
        for connection in way.connections.known
        if connection.reply.source != connection.original.destination
        or connection.reply.source_port != connection.original.destination_port
    )


def _clients(question: Question, answer: Answer) -> list[str]:
    """Those who are asked about: all of the family where ranges matter, else the Pod."""
    family = ip_address(question.address).version
    everybody = [client for client in CLIENTS if ip_address(client).version == family]
    return everybody[:1] if answer.let_in.issuperset(everybody) else everybody


def _expected(answer: Answer, client: str) -> Answer:
    if client not in answer.let_in:
        return Answer(frozenset(), "dropped")
    return Answer(answer.endpoints, answer.without)


def _address(number: int, eth_type: int) -> str:
    return str(IPv4Address(number) if eth_type == fields.ETH_TYPE_IPV4 else IPv6Address(number))
