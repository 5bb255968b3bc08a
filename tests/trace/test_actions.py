"""What actions do to a virtual packet: as ovs-actions(7) says, and as Open vSwitch itself does."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    ConntrackClear,
    CopyField,
    DecrementTtl,
    Group,
    Nat,
    Output,
    OutputRegister,
    Resubmit,
    SetField,
)
from antrea_proxy.openflow.constants import OFPP_IN_PORT, CtState, GroupId, GroupModCommand, GroupType, NatKind, TableId
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, GroupMod, SelectionMethod
from antrea_proxy.pipeline.connections import Connections
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import Arp, Packet, packet_of
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, GroupEntry, Owner, OwnerKind, Unit, flow
from antrea_proxy.pipeline.walk import walk, walk_every_way
from antrea_proxy.pipeline.walk_steps import NotWalked, Walk, WasTracked

OWNER = Owner(OwnerKind.BASE, "")
PACKET = Packet(
    in_port=5,
    eth_src=1,
    eth_dst=2,
    eth_type=fields.ETH_TYPE_IPV4,
    source=IPv4Address("10.0.0.1"),
    destination=IPv4Address("10.0.0.2"),
    protocol=fields.IP_PROTO_UDP,
    source_port=1000,
    destination_port=53,
)
NEXT = Table.OUTPUT


def at(table: Table, actions: Sequence[Action], *conditions: tuple[fields.Field, int]) -> FlowEntry:
    return flow(OWNER, table, 1, Match(*conditions), actions)


def group(
    number: int, *buckets: Sequence[Action], kind: GroupType = GroupType.SELECT, method: str = "dp_hash"
) -> GroupEntry:
    message = GroupMod(
        command=GroupModCommand.ADD_OR_MOD,
        type=kind,
        group_id=GroupId(number),
        buckets=tuple(
            Bucket(bucket_id=place, weight=100 if kind is GroupType.SELECT else None, actions=tuple(actions))
            for place, actions in enumerate(buckets)
        ),
        selection_method=SelectionMethod(name=method) if kind is GroupType.SELECT else None,
    )
    return GroupEntry(GroupId(number), encode(message))


def run(*flows: FlowEntry, groups: Sequence[GroupEntry] = (), packet: Packet = PACKET) -> Walk:
    return walk(CompiledTables({OWNER: Unit(flows=flows, groups=tuple(groups))}), packet)


def test_a_packet_that_leaves_bears_what_was_written_into_it() -> None:
    way = run(at(Table.CLASSIFIER, [SetField(fields.ETH_DST, 0xABC), SetField(fields.UDP_DST, 5353), Output(7)]))
    assert way.ports == (7,)
    sent = way.sent[0].packet
    assert (sent.eth_dst, sent.destination_port, sent.source_port) == (0xABC, 5353, 1000)


def test_a_masked_write_leaves_the_other_bits_alone() -> None:
    way = run(
        at(
            Table.CLASSIFIER,
            [SetField(fields.REG0, 0xFF), SetField(fields.REG0, 0x30, 0xF0), OutputRegister(fields.REG0)],
        )
    )
    assert way.ports == (0x3F,)


def test_a_wide_register_is_its_four_narrow_ones() -> None:
    write = SetField(fields.XXREG0, (1 << 96) | (2 << 64) | (3 << 32) | 4)
    copies: list[Action] = [CopyField(fields.XXREG0, fields.REG4, 32, src_offset=64), OutputRegister(fields.REG4)]
    assert run(at(Table.CLASSIFIER, [write, *copies])).ports == (2,)
    assert run(at(Table.CLASSIFIER, [write, OutputRegister(fields.REG3)])).ports == (4,)


def test_writes_before_a_resubmit_are_seen_there_and_those_made_there_stay() -> None:
    way = run(
        at(Table.CLASSIFIER, [SetField(fields.REG0, 1), Resubmit(NEXT.id), OutputRegister(fields.REG1)]),
        at(NEXT, [SetField(fields.REG1, 9)], (fields.REG0, 1)),
    )
    assert way.ports == (9,)
    assert way.tables == ("Classifier", "Output")


def test_a_resubmit_with_another_port_changes_it_for_that_lookup_alone() -> None:
    way = run(
        at(Table.CLASSIFIER, [Resubmit(NEXT.id, in_port=8)]),
        at(NEXT, [Output(OFPP_IN_PORT)], (fields.IN_PORT, 8)),
    )
    assert way.ports == (5,)


def test_a_bucket_works_on_a_copy() -> None:
    way = run(
        at(Table.CLASSIFIER, [Group(GroupId(1)), OutputRegister(fields.REG0)]),
        groups=[group(1, [SetField(fields.REG0, 7), OutputRegister(fields.REG0)])],
    )
    assert way.ports == (7,), "the register is 0 again after the group, and there is no port 0"


def test_every_way_through_select_groups_is_walked_once() -> None:
    entries = [at(Table.CLASSIFIER, [Group(GroupId(1))]), at(NEXT, [Group(GroupId(2))])]
    groups = [group(1, [Output(10)], [Resubmit(NEXT.id)]), group(2, [Output(21)], [Output(22)], [Output(23)])]
    tables = CompiledTables({OWNER: Unit(flows=tuple(entries), groups=tuple(groups))})
    assert sorted(way.ports for way in walk_every_way(tables, PACKET)) == [(10,), (21,), (22,), (23,)]


def test_a_group_of_all_does_all_its_buckets_and_a_fast_failover_the_first() -> None:
    entries = at(Table.CLASSIFIER, [Group(GroupId(1))])
    every = group(1, [Output(1)], [Output(2)], kind=GroupType.ALL)
    first = group(1, [Output(1)], [Output(2)], kind=GroupType.FAST_FAILOVER)
    assert run(entries, groups=[every]).ports == (1, 2)
    assert run(entries, groups=[first]).ports == (1,)


@pytest.mark.parametrize(("method", "recirculations"), [("dp_hash", 1), ("hash", 0)])
def test_the_datapaths_hash_costs_one_recirculation_however_many_groups_ask(method: str, recirculations: int) -> None:
    way = run(
        at(Table.CLASSIFIER, [Group(GroupId(1))]),
        at(NEXT, [Group(GroupId(2))]),
        groups=[group(1, [Resubmit(NEXT.id)], method=method), group(2, [Output(1)], method=method)],
    )
    assert way.recirculations == recirculations


def test_what_comes_back_to_its_own_port_is_dropped_unless_in_port_says_so() -> None:
    way = run(at(Table.CLASSIFIER, [Output(5)]))
    assert not way.ports
    assert way.drop is not None
    assert "where the packet came from" in way.drop[1].reason
    assert run(at(Table.CLASSIFIER, [Output(OFPP_IN_PORT)])).ports == (5,)


def test_each_drop_names_its_table_and_reason() -> None:
    reasons = {
        "no flow of Classifier matches": run(at(NEXT, [Output(1)])),
        "a flow of base in Output drops any": run(at(Table.CLASSIFIER, [Resubmit(NEXT.id)]), at(NEXT, [])),
        "group 9 does not exist": run(at(Table.CLASSIFIER, [Group(GroupId(9))])),
        "there is no port 0": run(at(Table.CLASSIFIER, [OutputRegister(fields.REG5)])),
        "its TTL ended": run(
            at(Table.CLASSIFIER, [DecrementTtl(), Output(1)]), packet=packet_of(PACKET.fields() | {fields.NW_TTL: 1})
        ),
    }
    for reason, way in reasons.items():
        assert way.drop is not None, reason
        assert way.drop[1].reason == reason


def test_the_ttl_goes_down_by_one() -> None:
    assert run(at(Table.CLASSIFIER, [DecrementTtl(), Output(1)])).sent[0].packet.ttl == PACKET.ttl - 1


def test_a_loop_of_resubmits_ends_as_a_switch_would_end_it() -> None:
    way = run(at(Table.CLASSIFIER, [Resubmit(Table.CLASSIFIER.id)]))
    assert way.drop is not None
    assert "64 deep" in way.drop[1].reason


def test_a_loop_of_recirculations_ends_too() -> None:
    way = run(at(Table.CLASSIFIER, [Conntrack(1, Table.CLASSIFIER.id)]))
    assert way.drop is not None
    assert way.drop[1].reason == "more than 6 recirculations"


def test_a_ct_without_a_table_tracks_and_lets_the_packet_go_on_untracked() -> None:
    way = run(
        at(Table.CLASSIFIER, [Conntrack(1, commit=True), Resubmit(NEXT.id)]),
        at(NEXT, [Output(1)], (fields.CT_STATE, 0)),
    )
    assert way.ports == (1,)
    assert len(way.connections.known) == 1


def test_the_original_packet_knows_nothing_of_what_its_copy_in_the_tracker_learns() -> None:
    """ct(table) forks: the rest of the actions sees the packet untracked (ovs-actions(7))."""
    way = run(
        at(Table.CLASSIFIER, [Conntrack(1, NEXT.id), Resubmit(Table.COMMIT.id)]),
        at(Table.COMMIT, [Output(1)], (fields.CT_STATE, 0)),
        at(NEXT, [Output(2)], (fields.CT_STATE, CtState.TRK | CtState.NEW)),
    )
    assert way.ports == (1, 2)


def test_ct_clear_forgets_the_state() -> None:
    way = run(
        at(Table.CLASSIFIER, [Conntrack(1, NEXT.id)]),
        at(NEXT, [ConntrackClear(), Resubmit(Table.COMMIT.id)]),
        at(Table.COMMIT, [Output(1)], (fields.CT_STATE, 0)),
    )
    assert way.ports == (1,)


def test_the_caller_may_answer_for_the_tracker() -> None:
    tables = CompiledTables(
        {
            OWNER: Unit(
                flows=(
                    at(Table.CLASSIFIER, [Conntrack(1, NEXT.id)]),
                    at(NEXT, [Output(1)], (fields.CT_STATE, CtState.TRK | CtState.EST)),
                )
            )
        }
    )
    assert walk(tables, PACKET, answers=[CtState.EST]).ports == (1,)
    assert not walk(tables, PACKET).ports


def test_translation_to_another_address_leaves_the_port_alone_unless_told() -> None:
    def translated(nat: Nat) -> Packet:
        way = run(at(Table.CLASSIFIER, [Conntrack(1, NEXT.id, commit=True, actions=(nat,))]), at(NEXT, [Output(1)]))
        return way.sent[0].packet

    only_address = translated(Nat(kind=NatKind.DST, address_min=IPv4Address("10.9.9.9")))
    both = translated(Nat(kind=NatKind.SRC, address_min=IPv4Address("10.9.9.9"), port_min=4000))
    assert (str(only_address.destination), only_address.destination_port) == ("10.9.9.9", 53)
    assert (str(both.source), both.source_port, str(both.destination)) == ("10.9.9.9", 4000, "10.0.0.2")


def test_what_is_no_ip_packet_is_invalid_to_the_tracker() -> None:
    arp = Packet(
        in_port=5,
        eth_type=fields.ETH_TYPE_ARP,
        arp=Arp(operation=1, sender=IPv4Address("10.0.0.1"), target=IPv4Address("10.0.0.2")),
    )
    way = run(at(Table.CLASSIFIER, [Conntrack(1, NEXT.id, commit=True)]), at(NEXT, [Output(1)]), packet=arp)
    tracked = next(event for event in way.events if isinstance(event, WasTracked))
    assert tracked.state == CtState.TRK | CtState.INV
    assert way.connections == Connections()
    assert way.sent[0].packet.arp == arp.arp


def test_an_action_that_is_not_known_is_named() -> None:
    entry = at(Table.CLASSIFIER, [DecrementTtl(), Output(1)])
    odd = entry.message.replace(bytes.fromhex("0018000800000000"), bytes.fromhex("0012000800000000"))
    way = run(entry._replace(message=odd))
    assert any(isinstance(event, NotWalked) for event in way.events)
    assert way.uncertain
    assert way.ports == (1,)


def test_zones_do_not_know_each_others_connections() -> None:
    one = Conntrack(1, NEXT.id, commit=True)
    tables = CompiledTables({OWNER: Unit(flows=(at(Table.CLASSIFIER, [one]), at(NEXT, [Output(1)])))})
    other = CompiledTables(
        {OWNER: Unit(flows=(at(Table.CLASSIFIER, [Conntrack(2, TableId(90))]), at(NEXT, [Output(1)])))}
    )
    known = walk(tables, PACKET).connections
    answer = Packet(
        in_port=1,
        eth_type=fields.ETH_TYPE_IPV4,
        source=PACKET.destination,
        destination=PACKET.source,
        protocol=PACKET.protocol,
        source_port=PACKET.destination_port,
        destination_port=PACKET.source_port,
    )
    states = [
        next(event.state for event in walk(which, answer, connections=known).events if isinstance(event, WasTracked))
        for which in (tables, other)
    ]
    assert states == [CtState.TRK | CtState.EST | CtState.RPL, CtState.TRK | CtState.NEW]
