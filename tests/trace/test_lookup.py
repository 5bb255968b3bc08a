"""A table's answer to a packet, against the plain rule: of all flows that match, the one with the highest priority."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.flow_index import CompiledFlow, CompiledTables
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, OwnerKind, Unit, flow

OWNER = Owner(OwnerKind.BASE, "")
_FIELDS = (fields.IN_PORT, fields.REG0, fields.REG1, fields.XXREG0, fields.CT_MARK, fields.METADATA, fields.IPV4_DST)
_few = st.integers(0, 3)


@st.composite
def conditions(draw: st.DrawFn) -> tuple[tuple[Field, int] | tuple[Field, int, int], ...]:
    """Conditions on few values of few fields, so that packets meet them; masks of one or two bits."""
    found: list[tuple[Field, int] | tuple[Field, int, int]] = []
    for field in draw(st.lists(st.sampled_from(_FIELDS), unique=True, max_size=3)):
        if field is fields.XXREG0 and any(other[0] in {fields.REG0, fields.REG1} for other in found):
            continue
        if field in {fields.REG0, fields.REG1} and any(other[0] is fields.XXREG0 for other in found):
            continue
        if field is fields.IPV4_DST:
            found.append((fields.ETH_TYPE, fields.ETH_TYPE_IPV4))
        value = draw(_few)
        mask = draw(st.sampled_from([None, 1, 2, 3])) if field.maskable else None
        found.append((field, value) if mask is None else (field, value & mask, mask))
    return tuple(found)


flow_entries = st.lists(
    st.builds(
        lambda table, priority, found: flow(OWNER, table, priority, Match(*found)),
        st.sampled_from([Table.CLASSIFIER, Table.SERVICE_LB]),
        st.integers(0, 3),
        conditions(),
    ),
    max_size=12,
    unique_by=lambda entry: entry.key,
)
packets = st.fixed_dictionaries(
    {},
    optional={
        fields.IN_PORT: _few,
        fields.REG0: _few,
        fields.REG1: _few,
        fields.REG3: _few,
        fields.CT_MARK: _few,
        fields.METADATA: _few,
        fields.ETH_TYPE: st.sampled_from([fields.ETH_TYPE_IPV4, fields.ETH_TYPE_IPV6]),
        fields.IPV4_DST: _few,
    },
)


def matches(entry: FlowEntry, packet: Mapping[Field, int]) -> bool:
    """Whether a packet meets every condition of a flow, read with the ordinary decoder."""
    found = CompiledFlow.of(OWNER, entry).match
    return all(condition.holds(packet.get(condition.field, 0)) for condition in found)


@given(entries=flow_entries, packet=packets, table=st.sampled_from([Table.CLASSIFIER, Table.SERVICE_LB]))
def test_a_table_answers_with_the_matching_flow_of_the_highest_priority(
    entries: list[FlowEntry], packet: dict[Field, int], table: Table
) -> None:
    found = CompiledTables({OWNER: Unit(flows=tuple(entries))}).look_up(table, packet)
    matching = [entry for entry in entries if entry.key[0] == table and matches(entry, packet)]
    priorities = [int.from_bytes(entry.key[1:3], "big") for entry in matching]
    best = {entry.message for entry, priority in zip(matching, priorities, strict=True) if priority == max(priorities)}
    given_back = {item.message for item in (found.flow, *found.rivals) if item is not None}
    assert given_back == best


def test_a_masked_condition_looks_at_its_bits_alone() -> None:
    tables = CompiledTables({OWNER: Unit(flows=(flow(OWNER, Table.OUTPUT, 1, Match((fields.REG0, 0x10, 0xF0))),))})
    assert tables.look_up(Table.OUTPUT, {fields.REG0: 0x31F}).flow is not None
    assert tables.look_up(Table.OUTPUT, {fields.REG0: 0x20}).flow is None


def test_two_flows_of_one_priority_that_match_are_named_as_rivals() -> None:
    """Which of them a switch takes is not defined: a pipeline should have none."""
    first = flow(OWNER, Table.OUTPUT, 7, Match((fields.REG0, 1)))
    second = flow(OWNER, Table.OUTPUT, 7, Match((fields.REG1, 1)))
    found = CompiledTables({OWNER: Unit(flows=(first, second))}).look_up(Table.OUTPUT, {fields.REG0: 1, fields.REG1: 1})
    assert found.flow is not None
    assert {found.flow.cookie, *(rival.cookie for rival in found.rivals)} == {first.cookie, second.cookie}


def test_a_flow_on_a_field_that_no_virtual_packet_has_is_named_and_not_taken() -> None:
    """Such as one that a later version wrote: the walk says that it does not know, instead of guessing."""
    unknown = Field(name="tun_metadata63", oxm_class=fields.NXM_1, number=103, bits=32)
    odd = flow(OWNER, Table.OUTPUT, 9, Match((fields.REG0, 1), (unknown, 5)))
    plain = flow(OWNER, Table.OUTPUT, 1, Match())
    tables = CompiledTables({OWNER: Unit(flows=(odd, plain))})
    found = tables.look_up(Table.OUTPUT, {fields.REG0: 1})
    assert found.flow is not None
    assert found.flow.cookie == plain.cookie
    assert [item.cookie for item in found.unjudged] == [odd.cookie]
    assert not tables.look_up(Table.OUTPUT, {fields.REG0: 2}).unjudged, "its known conditions exclude it"
