"""The flows and groups that the switch confirmed to hold, as views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.http_api.view_types import BucketView, FlowView, GroupView
from antrea_proxy.http_api.views import Selection
from antrea_proxy.pipeline.action_words import actions_text
from antrea_proxy.pipeline.flow_index import CompiledFlow, CompiledGroup, all_flows
from antrea_proxy.pipeline.units import Owner, OwnerKind, Unit
from antrea_proxy.pipeline.walk import table_title

_NAMESPACED: Final = frozenset({OwnerKind.SERVICE, OwnerKind.POD})


def flow_views(status: AgentStatus, selection: Selection) -> Iterator[FlowView]:
    """Show flows, by owner: those of the Services and Pods selected; without a selection, all."""
    for owner, unit in _selected(status, selection):
        for flow in all_flows({owner: unit}):
            yield _flow(flow)


def group_views(status: AgentStatus, selection: Selection) -> Iterator[GroupView]:
    """Show groups, as flow_views does flows."""
    for owner, unit in _selected(status, selection):
        for entry in unit.groups:
            group = CompiledGroup(entry.group_id, owner, entry.message)
            buckets = group.buckets
            total = sum(bucket.weight or 0 for bucket in buckets) or 1
            yield GroupView(
                group_id=group.group_id,
                type=group.type.name.lower(),
                method=group.method,
                owner=str(owner),
                buckets=tuple(
                    BucketView(
                        bucket_id=bucket.bucket_id,
                        weight=bucket.weight or 0,
                        share=(bucket.weight or 0) / total,
                        actions=actions_text(bucket.actions),
                    )
                    for bucket in buckets
                ),
            )


def _selected(status: AgentStatus, selection: Selection) -> Iterator[tuple[Owner, Unit]]:
    for owner, unit in sorted(status.installed.items(), key=lambda item: item[0]):
        if selection == Selection():
            yield owner, unit
        elif owner.kind in _NAMESPACED:
            namespace, name, *_rest = owner.name.split("/")
            if selection.takes(namespace, name):
                yield owner, unit


def _flow(flow: CompiledFlow) -> FlowView:
    return FlowView(
        table=flow.table,
        table_name=table_title(flow.table),
        priority=flow.priority,
        match=str(flow.match),
        actions=actions_text(flow.actions),
        owner=str(flow.owner),
        cookie=f"{flow.cookie:#018x}",
    )
