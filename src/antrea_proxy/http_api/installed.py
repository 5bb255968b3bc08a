"""How many Services and endpoints the switch confirmed to hold: counted in what was written, not in what was wanted.

Of 10,000 Services it reads bytes where it can: a scrape must not take the agent's time.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Group
from antrea_proxy.openflow.constants import NICIRA, NiciraAction
from antrea_proxy.openflow.encoding import match_bytes
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.flow_index import CompiledFlow, CompiledGroup
from antrea_proxy.pipeline.service_templates import PORT_PRIORITY
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import Owner, OwnerKind, Unit

_IPV6: Final = match_bytes(Match((fields.ETH_TYPE, fields.ETH_TYPE_IPV6)))
_CONNTRACK: Final = struct.pack("!IH", NICIRA, NiciraAction.CT)
"""How a ct() action goes on after its type and length (nicira-ext.h)."""

_SLOT_BYTES: Final = 4
"""The slot is the last condition of a slot table's flow, and its value the last bytes."""


class Counts(NamedTuple):
    """Of one IP family: Service ports, and their endpoints."""

    services: int = 0
    endpoints: int = 0

    def plus(self, other: Counts) -> Counts:
        """Add counts."""
        return Counts(self.services + other.services, self.endpoints + other.endpoints)


class InstalledCounts:
    """Counts by IP family. A Service whose flows did not change since the last time is not counted again."""

    def __init__(self) -> None:
        self._known: dict[Owner, tuple[Unit, Mapping[int, Counts]]] = {}

    def count(self, installed: Mapping[Owner, Unit]) -> Mapping[int, Counts]:
        """Count Service ports and endpoints; an endpoint counts once for every Service port that uses it."""
        before, self._known = self._known, {}
        totals = {4: Counts(), 6: Counts()}
        for owner, unit in installed.items():
            if owner.kind is not OwnerKind.SERVICE:
                continue
            known = before.get(owner)
            counts = known[1] if known is not None and known[0] is unit else _counts(owner, unit)
            self._known[owner] = (unit, counts)
            for family, one in counts.items():
                totals[family] = totals[family].plus(one)
        return totals


def _counts(owner: Owner, unit: Unit) -> Mapping[int, Counts]:
    groups = {
        group.group_id: _translations(CompiledGroup(group.group_id, owner, group.message)) for group in unit.groups
    }
    totals = {4: Counts(), 6: Counts()}
    in_slots: dict[int, set[tuple[bytes, bytes]]] = {4: set(), 6: set()}
    for entry in unit.flows:
        flow = CompiledFlow.of(owner, entry)
        family = 6 if _IPV6 in flow.match_bytes else 4
        if flow.table == Table.SERVICE_SLOT:
            in_slots[family].add((flow.match_bytes[:-_SLOT_BYTES], flow.instruction_bytes))
        elif flow.table == Table.SERVICE_LB and flow.priority == PORT_PRIORITY:
            endpoints = 1
            if _CONNTRACK not in flow.instruction_bytes:
                endpoints = sum(groups.get(item.group_id, 0) for item in flow.actions if isinstance(item, Group))
            totals[family] = totals[family].plus(Counts(1, endpoints))
    return {family: total.plus(Counts(0, len(in_slots[family]))) for family, total in totals.items()}


def _translations(group: CompiledGroup) -> int:
    """Count what a group translates to: the endpoints, of which one may have two buckets."""
    return len(set(group.bucket_actions))
