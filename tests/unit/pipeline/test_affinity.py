"""Session affinity's numbers, turns, and the care for what a switch has learned."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.action_encoding import encode_instructions
from antrea_proxy.openflow.actions import SetField
from antrea_proxy.openflow.constants import FlowModCommand, FlowModFlags, GroupId
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_encoding import match_bytes
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.affinity import (
    IDLE_TIMEOUT_MAX,
    MOST_IN_GROUP,
    endpoint_ids,
    epoch,
    idle_timeout,
    learned_cookie,
    next_epoch,
    parts,
    upkeep,
)
from antrea_proxy.pipeline.registers import BALANCER, SLOT
from antrea_proxy.pipeline.tables import Table

WEB, OTHER = GroupId(7), GroupId(8)
DAY = 86_400

keys = st.lists(st.binary(min_size=18, max_size=18), unique=True, max_size=50)


def learned(balancer: GroupId, client: str, *, idle: int, timeout: int) -> FlowDesc:
    """What a switch holds of a client that was idle for so many seconds."""
    match = Match(
        (BALANCER, balancer),
        (fields.ETH_TYPE, fields.ETH_TYPE_IPV4),
        (fields.IPV4_SRC, int(IPv4Address(client))),
    )
    return FlowDesc(
        table=Table.AFFINITY.id,
        priority=100,
        cookie=learned_cookie(balancer),
        idle_timeout=timeout,
        hard_timeout=0,
        flags=FlowModFlags(0),
        importance=0,
        match_bytes=match_bytes(match),
        stats_bytes=bytes.fromhex("80020208") + (idle << 32).to_bytes(8, "big"),
        instruction_bytes=encode_instructions((SetField(SLOT, 77),)),
    )


def done(messages: Sequence[bytes]) -> list[FlowMod]:
    found = [decode(message)[0] for message in messages]
    assert all(isinstance(message, FlowMod) for message in found)
    return [message for message in found if isinstance(message, FlowMod)]


@given(known=keys, more=keys)
def test_an_endpoint_keeps_its_number_whatever_comes_and_goes(known: list[bytes], more: list[bytes]) -> None:
    """But for a clash of 32 bits, which hypothesis will not find."""
    before = dict(zip(known, endpoint_ids(known), strict=True))
    together = sorted({*known, *more})
    after = dict(zip(together, endpoint_ids(together), strict=True))
    assert len(set(after.values())) == len(after)
    assert {key: after[key] for key in known} == before
    assert 0 not in after.values()


def test_endpoints_whose_numbers_clash_get_different_ones() -> None:
    assert len(set(endpoint_ids([b"same", b"same"]))) == 2


@given(st.integers(1, 4 * MOST_IN_GROUP))
def test_every_endpoint_is_in_one_group_and_no_group_is_too_large(count: int) -> None:
    numbers = endpoint_ids(number.to_bytes(18, "big") for number in range(count))
    members = parts(numbers)
    assert sorted(place for part in members for place in part) == list(range(count))
    assert max(map(len, members)) <= 1.25 * MOST_IN_GROUP


def test_a_change_of_one_endpoint_of_very_many_changes_one_group() -> None:
    numbers = endpoint_ids(number.to_bytes(18, "big") for number in range(5000))
    before = [{numbers[place] for place in part} for part in parts(numbers)]
    after = [{numbers[:-1][place] for place in part} for part in parts(numbers[:-1])]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


@given(timeout=st.integers(1, DAY), now=st.floats(1e9, 4e9))
def test_a_client_whose_time_is_over_is_chosen_in_another_epoch(timeout: int, now: float) -> None:
    assert epoch(timeout, now + timeout) != epoch(timeout, now)
    turn = next_epoch(timeout, now)
    assert now < turn <= now + timeout + 1e-6
    assert epoch(timeout, turn) == epoch(timeout, now) + 1


@given(st.integers(1, DAY))
def test_the_switch_never_ends_an_entry_before_its_time(timeout: int) -> None:
    by_the_switch = idle_timeout(timeout)
    assert by_the_switch == 0 or timeout < by_the_switch <= min(timeout + 2, IDLE_TIMEOUT_MAX)


def test_a_client_of_a_day_is_forgotten_when_the_day_is_over_and_not_before() -> None:
    entries = [
        learned(WEB, "10.10.1.5", idle=DAY - 10, timeout=0),
        learned(WEB, "10.10.1.6", idle=DAY + 1, timeout=0),
        learned(WEB, "10.10.1.7", idle=5, timeout=0),
    ]
    result = upkeep(entries, {WEB: DAY})
    (gone,) = done(result.messages)
    assert gone.command is FlowModCommand.DELETE_STRICT
    assert gone.match == entries[1].match
    assert result.again_in == 11


def test_what_the_switch_ends_by_itself_needs_no_second_look() -> None:
    entries = [learned(WEB, "10.10.1.5", idle=3, timeout=idle_timeout(60))]
    result = upkeep(entries, {WEB: 60})
    assert result.messages == ()
    assert result.again_in is None


def test_clients_of_a_service_without_affinity_are_forgotten_and_no_others() -> None:
    entries = [
        learned(WEB, "10.10.1.5", idle=3, timeout=61),
        learned(OTHER, "10.10.1.5", idle=3, timeout=61),
    ]
    (gone,) = done(upkeep(entries, {OTHER: 60}).messages)
    assert (gone.command, gone.match) == (FlowModCommand.DELETE_STRICT, entries[0].match)


def test_a_shorter_time_out_ends_at_once_whose_time_it_ends_and_holds_for_the_others() -> None:
    entries = [
        learned(WEB, "10.10.1.5", idle=30, timeout=idle_timeout(10_800)),
        learned(WEB, "10.10.1.6", idle=5, timeout=idle_timeout(10_800)),
    ]
    gone, kept = done(upkeep(entries, {WEB: 20}).messages)
    assert (gone.command, gone.match) == (FlowModCommand.DELETE_STRICT, entries[0].match)
    assert (kept.command, kept.match, kept.idle_timeout) == (FlowModCommand.ADD, entries[1].match, idle_timeout(20))
    assert (kept.cookie, kept.actions) == (entries[1].cookie, entries[1].actions)


def test_a_time_out_beyond_what_the_switch_counts_is_taken_over() -> None:
    entries = [learned(WEB, "10.10.1.5", idle=30, timeout=idle_timeout(60))]
    result = upkeep(entries, {WEB: DAY})
    (kept,) = done(result.messages)
    assert (kept.command, kept.idle_timeout) == (FlowModCommand.ADD, 0)
    assert result.again_in == DAY + 1 - 30
