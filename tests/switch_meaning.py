"""What a switch does, whatever numbers its load balancers have: two switches may be compared by it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from antrea_proxy.openflow.actions import Group, Learn, SetField
from antrea_proxy.openflow.constants import Cookie
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.registers import BALANCER
from antrea_proxy.pipeline.slots import HASH_GROUPS
from antrea_proxy.pipeline.tables import Table
from model_switch import ModelSwitch


def meaning(model: ModelSwitch) -> tuple[object, object]:
    """The flows and groups, with the first address that leads to a load balancer in the place of its number."""
    names: dict[int, str] = {}
    for flow in sorted(model.flows.values(), key=lambda flow: str(flow.match)):
        number = _number(flow) if flow.table == Table.SERVICE_LB.id else None
        if number is not None:
            names.setdefault(number, str(flow.match))
    flows = {(key[0], key[1], _match(flow.match, names), _actions(flow, names)) for key, flow in model.flows.items()}
    return flows, {names.get(number, str(number)): content for number, content in model.groups.items()}


def numbered(match: Match) -> bool:
    """Whether a match is about a load balancer's number, which another switch may give to another one."""
    return any(condition.field == BALANCER for condition in match)


def _number(flow: FlowMod) -> int | None:
    for action in flow.actions:
        if isinstance(action, SetField) and action.field == BALANCER:
            return action.value
        if isinstance(action, Group) and action.group_id < HASH_GROUPS:
            return action.group_id
    return None


def _match(match: Match, names: dict[int, str]) -> tuple[object, ...]:
    return tuple(
        names.get(condition.value, condition) if condition.field == BALANCER else condition for condition in match
    )


def _actions(flow: FlowMod, names: dict[int, str]) -> tuple[object, ...]:
    return tuple(_action(action, names) for action in flow.actions)


def _action(action: Any, names: dict[int, str]) -> object:  # noqa: ANN401 - any action
    if isinstance(action, SetField) and action.field == BALANCER and action.value:
        return "balancer", names.get(action.value, action.value)
    if isinstance(action, Group):
        return "group", names.get(action.group_id, action.group_id)
    return replace(action, cookie=Cookie(0)) if isinstance(action, Learn) else action
