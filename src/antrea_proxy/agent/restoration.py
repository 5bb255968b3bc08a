"""What a switch already uses for which load balancer, read from its Service flows: its number, its slots' Nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

_SLOTS: Final = frozenset({Table.DIRECT_SLOT.id, Table.DIRECT_FORMER.id})
"""The tables that say which Node has, or had, a slot."""

_Frontend = tuple[int, int, int | None, int, bool]
"""Family, protocol, address and port as numbers, and whether only clients beyond the Node are meant.

A NodePort's address is None.
"""


class Restoration:
    """What a switch holds of the load balancers of an earlier agent, or of this one before a reconnect.

    `taken` are the numbers in use: no group may change its meaning under a flow that names it. A Node that is not among
    `nodes` any more is nobody's slot.
    """

    def __init__(self, contents: SwitchContents, nodes: Iterable[str]) -> None:
        self._numbers: dict[_Frontend, GroupId] = {}
        self._slots: dict[int, dict[int, str]] = {}
        self._former: dict[int, dict[int, dict[int, str]]] = {}
        self.taken = set(contents.groups)
        names = {node_key(name): name for name in nodes}
        for cookie, entry in contents.flows.items():
            if cookie >> 48 != _SERVICE_FLOW:
                continue
            if entry.table in _LEADING:
                self._read_frontend(entry)
            elif entry.table in _SLOTS:
                self._read_slot(entry, names)

    def numbers(self, table: LoadBalancers) -> dict[LoadBalancerName, GroupId]:
        """Return the numbers that load balancers have in the switch, and are to keep."""
        known: dict[LoadBalancerName, GroupId] = {}
        for port in table.ports if self._numbers else ():
            for item in port.frontends:
                outside = Scope.LOCAL if item.direct else item.outside
                address = None if item.address is None else int(item.address)
                for scope, from_outside in ((item.inside, False), (outside, True)):
                    key = (port.family, int(port.protocol), address, item.port, from_outside)
                    if scope is not None and key in self._numbers:
                        known.setdefault(LoadBalancerName(port.name, port.family, scope), self._numbers[key])
        return known

    def histories(self, known: Mapping[LoadBalancerName, GroupId]) -> dict[LoadBalancerName, History]:
        """Return who has the slots of Service ports in DSR mode, and who had them."""
        found: dict[LoadBalancerName, History] = {}
        for balancer, number in known.items():
            slots = self._slots.get(number, {})
            if slots and slots.keys() == set(range(len(slots))):
                before = self._former.get(number, {})
                asked = [[name for _, name in sorted(before.get(slot, {}).items())] for slot in range(len(slots))]
                found[balancer] = History(
                    tuple(slots[slot] for slot in range(len(slots))),
                    tuple(tuple(name for name in names if name != slots[slot]) for slot, names in enumerate(asked)),
                )
        return found

    def _read_frontend(self, entry: FlowDesc) -> None:
        number = _number(entry)
        if number is not None:
            self.taken.add(number)
            frontend = _frontend(entry)
            if frontend is not None:
                self._numbers[frontend] = number

    def _read_slot(self, entry: FlowDesc, names: Mapping[int, str]) -> None:
        values = {condition.field: condition.value for condition in entry.match}
        number, slot = values[BALANCER], values[SLOT]
        key = next(action.value for action in entry.actions if isinstance(action, SetField) and action.field == NODE)
        name = names.get(key, "")
        if entry.table == Table.DIRECT_SLOT.id:
            self._slots.setdefault(number, {})[slot] = name
        elif name:
            self._former.setdefault(number, {}).setdefault(slot, {})[-entry.priority] = name


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
