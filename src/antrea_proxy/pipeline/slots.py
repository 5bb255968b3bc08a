"""Slot tables: the choice among any number of endpoints, without a group.

A select group has at most 256 hash values, too few for even shares among many endpoints. Here a group of one bucket
makes the datapath hash a new connection; some bits of the hash are its slot, and a flow for each slot names its
endpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import CopyField, Resubmit
from antrea_proxy.openflow.constants import GroupId, GroupModCommand, GroupType
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.messages import Bucket, GroupMod, SelectionMethod
from antrea_proxy.pipeline.registers import SLOT
from antrea_proxy.pipeline.shares import MAX_VALUES, power_of_two
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import GroupEntry

SLOTS_PER_ENDPOINT: Final = 8
"""At least so many: shares then differ by 1/8 at most, and in the mean far less."""

MIN_SLOTS: Final = 512
"""For few endpoints, a finer choice costs little: 30 on 256 values have 8 or 9 each, and 3,000 connections show it."""

MOST_IN_GROUP: Final = 16
"""Up to so many endpoints, a group's 256 hash values are at least 16 for each."""

MAX_BITS: Final = 20
"""A million slots, for over 100,000 endpoints of one Service."""

HASH_GROUPS: Final = 0xFF000000
"""The first number of the groups that hash; the group for n bits has this number plus n."""


def needs_slots(endpoints: int) -> bool:
    """Whether so many endpoints need a slot table. Powers of two divide a group's hash values evenly."""
    even = endpoints <= MAX_VALUES and not endpoints & (endpoints - 1)
    return endpoints > MOST_IN_GROUP and not even


def slot_bits(endpoints: int) -> int:
    """The number of bits of the hash that are a slot for so many endpoints."""
    return min(MAX_BITS, power_of_two(max(MIN_SLOTS, endpoints * SLOTS_PER_ENDPOINT)).bit_length() - 1)


def hash_group(bits: int) -> GroupId:
    """The group that hashes a connection and leads to its slot of so many bits."""
    return GroupId(HASH_GROUPS + bits)


def hash_groups() -> tuple[GroupEntry, ...]:
    """The groups for every number of bits; they are part of the base pipeline."""
    return tuple(
        GroupEntry(
            hash_group(bits),
            encode(
                GroupMod(
                    command=GroupModCommand.ADD_OR_MOD,
                    type=GroupType.SELECT,
                    group_id=hash_group(bits),
                    buckets=(
                        Bucket(
                            bucket_id=0,
                            weight=1,
                            actions=(CopyField(fields.DP_HASH, SLOT, bits), Resubmit(Table.SERVICE_SLOT.id)),
                        ),
                    ),
                    selection_method=SelectionMethod(name="dp_hash"),
                )
            ),
        )
        for bits in range(slot_bits(MOST_IN_GROUP + 1), MAX_BITS + 1)
    )


def assign(endpoints: Sequence[bytes], bits: int) -> list[int]:
    """Give each of 2**bits slots an endpoint, by its place in `endpoints` (Maglev, NSDI '16, section 3.4).

    The endpoints take turns, so that none has more than one slot more than another. Each prefers slots in an order of
    its own, which depends on nothing but its key: a change of one endpoint moves few slots of the others.
    """
    count = 1 << bits
    mask = count - 1
    positions: list[int] = []
    strides: list[int] = []
    for key in endpoints:
        digest = blake2b(key, digest_size=8).digest()
        positions.append(int.from_bytes(digest[:4], "big") & mask)
        strides.append(int.from_bytes(digest[4:], "big") & mask | 1)
    table = [-1] * count
    free = count
    while free:
        for endpoint, stride in enumerate(strides):
            slot = positions[endpoint]
            while table[slot] >= 0:
                slot = (slot + stride) & mask
            table[slot] = endpoint
            positions[endpoint] = (slot + stride) & mask
            free -= 1
            if not free:
                break
    return table
