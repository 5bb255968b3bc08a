"""Which group numbers a switch already uses for which load balancer, read from its Service flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Group, SetField
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.pipeline.registers import BALANCER, SOURCE
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import COOKIE_MARK, OwnerKind
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers

_SERVICE_FLOW: Final = COOKIE_MARK << 8 | OwnerKind.SERVICE
"""The upper two bytes of a Service flow's cookie. Another version of the agent may have kinds that are unknown here."""

_Frontend = tuple[int, int, int, bool]
"""Protocol, address and port as numbers, and whether only clients beyond the Node are meant."""


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
        if cookie >> 48 == _SERVICE_FLOW and entry.table == Table.SERVICE_LB.id:
            number = _number(entry)
            if number is not None:
                taken.add(number)
                frontend = _frontend(entry)
                if frontend is not None:
                    found[frontend] = number
    known: dict[LoadBalancerName, GroupId] = {}
    for port in table.ports:
        for item in port.frontends:
            for scope, outside in ((item.inside, False), (item.outside, True)):
                key = (int(port.protocol), int(item.address or 0), item.port, outside)
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
    if address is None or port is None:
        return None
    return values[fields.IP_PROTO], address, port, SOURCE in values
