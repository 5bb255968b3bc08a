"""Which group numbers a switch already uses for which load balancer, read from its Service flows."""

from __future__ import annotations

from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Group, SetField
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.pipeline.registers import BALANCER
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import OwnerKind, owner_kind
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers

_Frontend = tuple[int, int, int]
"""Protocol, address and port as numbers."""


def restored_group_ids(contents: SwitchContents, table: LoadBalancers) -> dict[LoadBalancerName, GroupId]:
    """The numbers to keep, so that no group changes its meaning under a flow that names it."""
    known: dict[_Frontend, GroupId] = {}
    for cookie, entry in contents.flows.items():
        if owner_kind(cookie) is OwnerKind.SERVICE and entry.table == Table.SERVICE_LB:
            frontend = _frontend(entry)
            number = _number(entry)
            if frontend is not None and number is not None:
                known[frontend] = number
    return {
        LoadBalancerName(port.name, port.family): known[frontend]
        for port in table.ports
        if (frontend := (int(port.protocol), int(port.address), port.port)) in known
    }


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
    return values[fields.IP_PROTO], address, port
