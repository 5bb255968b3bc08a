"""What a switch already uses for which load balancer, read from its Service flows: its number, its slots' Nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Group, SetField
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.pipeline.direct_slots import History, node_key
from antrea_proxy.pipeline.registers import BALANCER, DESTINATION, NODE, SLOT, SOURCE
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import COOKIE_MARK, OwnerKind
from antrea_proxy.proxy.frontends import Scope
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers

_SERVICE_FLOW: Final = COOKIE_MARK << 8 | OwnerKind.SERVICE
"""The upper two bytes of a Service flow's cookie. Another version of the agent may have kinds that are unknown here."""

_LEADING: Final = frozenset({Table.SERVICE_LB.id, Table.DIRECT_RETURN.id})
"""The tables whose flows lead from an address to a load balancer."""

_Frontend = tuple[int, int, int | None, int, bool]
"""Family, protocol, address and port as numbers, and whether only clients beyond the Node are meant.

A NodePort's address is None.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedGroupIds:
    """`known` numbers are to stay with their load balancers; none that is `taken` may be given to another."""

    known: Mapping[LoadBalancerName, GroupId]
    taken: frozenset[GroupId]


def used_group_ids(contents: SwitchContents, table: LoadBalancers) -> UsedGroupIds:
    """Find the numbers in use, so that no group changes its meaning under a flow that names it."""
    found: dict[_Frontend, GroupId] = {}
    taken = set(contents.groups)
    for cookie, entry in contents.flows.items():
        if cookie >> 48 == _SERVICE_FLOW and entry.table in _LEADING:
            number = _number(entry)
            if number is not None:
                taken.add(number)
                frontend = _frontend(entry)
                if frontend is not None:
                    found[frontend] = number
    known: dict[LoadBalancerName, GroupId] = {}
    for port in table.ports:
        for item in port.frontends:
            outside = Scope.LOCAL if item.direct else item.outside
            address = None if item.address is None else int(item.address)
            for scope, from_outside in ((item.inside, False), (outside, True)):
                key = (port.family, int(port.protocol), address, item.port, from_outside)
                if scope is not None and key in found:
                    known.setdefault(LoadBalancerName(port.name, port.family, scope), found[key])
    return UsedGroupIds(known=known, taken=frozenset(taken))


def _number(entry: FlowDesc) -> GroupId | None:
    """The number in the flow of a Service port: of its slot table, else of its group."""
    for action in entry.actions:
        if isinstance(action, SetField) and action.field == BALANCER:
            return GroupId(action.value)
        if isinstance(action, Group):
            return action.group_id
    return None


def _frontend(entry: FlowDesc) -> _Frontend | None:
    values = {condition.field: condition.value for condition in entry.match}
    address = values.get(fields.IPV4_DST, values.get(fields.IPV6_DST))
    port = next((values[field] for field in (fields.TCP_DST, fields.UDP_DST, fields.SCTP_DST) if field in values), None)
    if port is None or (address is None and DESTINATION not in values):
        return None
    outside = SOURCE in values or entry.table == Table.DIRECT_RETURN.id
    family = 4 if values[fields.ETH_TYPE] == fields.ETH_TYPE_IPV4 else 6
    return family, values[fields.IP_PROTO], address, port, outside


def histories(
    contents: SwitchContents, known: Mapping[LoadBalancerName, GroupId], nodes: Iterable[str]
) -> dict[LoadBalancerName, History]:
    """Read who has the slots of Service ports in DSR mode, and who had them; a Node that is gone is nobody's."""
    names = {node_key(name): name for name in nodes}
    owners: dict[int, dict[int, str]] = {}
    former: dict[int, dict[int, dict[int, str]]] = {}
    for cookie, entry in contents.flows.items():
        if cookie >> 48 != _SERVICE_FLOW or entry.table not in {Table.DIRECT_SLOT.id, Table.DIRECT_FORMER.id}:
            continue
        values = {condition.field: condition.value for condition in entry.match}
        number, slot = values[BALANCER], values[SLOT]
        key = next(action.value for action in entry.actions if isinstance(action, SetField) and action.field == NODE)
        name = names.get(key, "")
        if entry.table == Table.DIRECT_SLOT.id:
            owners.setdefault(number, {})[slot] = name
        elif name:
            former.setdefault(number, {}).setdefault(slot, {})[-entry.priority] = name
    found: dict[LoadBalancerName, History] = {}
    for balancer, number in known.items():
        slots = owners.get(number, {})
        if slots and slots.keys() == set(range(len(slots))):
            before = former.get(number, {})
            asked = [[name for _, name in sorted(before.get(slot, {}).items())] for slot in range(len(slots))]
            found[balancer] = History(
                tuple(slots[slot] for slot in range(len(slots))),
                tuple(tuple(name for name in names if name != slots[slot]) for slot, names in enumerate(asked)),
            )
    return found
