"""What a load balancer with session affinity is made of: endpoints by number, groups, and the flow that remembers."""

from __future__ import annotations

import numpy as np

from antrea_proxy.openflow.batch_encoding import Column, Template
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.pipeline import affinity
from antrea_proxy.pipeline.balancers import Balancers, keys, slot_flows
from antrea_proxy.pipeline.service_templates import (
    affinity_group_template,
    learn_template,
    parted_group_template,
    unremembered_template,
)
from antrea_proxy.pipeline.units import GroupEntry, Owner, Unit, sealed

Columns = dict[str, Column]


def affinity_unit(balancers: Balancers, row: int, owner: Owner, now: float) -> Unit:
    """The flows and groups behind the address of a load balancer, `now` being the Unix time in seconds."""
    balancer, timeout = balancers.rows[row], balancers.table.ports[row].affinity
    endpoints = balancers.endpoints(row)
    numbers = affinity.endpoint_ids(keys(endpoints))
    own: Columns = {"balancer": np.array([balancer.number], np.uint32)}
    idle: Columns = {"timeout": np.array([affinity.idle_timeout(timeout)], np.uint16)}
    flows = slot_flows(endpoints, np.array(numbers, np.uint32), balancer, owner)
    flows.append(sealed(owner, _one(unremembered_template(), own)))
    flows.append(sealed(owner, _one(learn_template(balancer.family), own | idle)))

    epoch: Columns = {"epoch": np.array([affinity.epoch(timeout, now)], np.uint64)}
    parts = affinity.parts(numbers)
    if len(parts) == 1:
        return Unit(flows=tuple(flows), groups=(_group(balancer.number, numbers, balancer.family, epoch),))
    members = balancers.ids.parts_of(balancers.name(row), len(parts))
    groups = [
        _group(member, [numbers[place] for place in part], balancer.family, epoch)
        for member, part in zip(members, parts, strict=True)
    ]
    columns: Columns = {f"part{place}": np.array([member], np.uint32) for place, member in enumerate(members)}
    whole = _one(parted_group_template(balancer.family, len(members)), columns | own | epoch)
    return Unit(flows=tuple(flows), groups=(*groups, GroupEntry(balancer.number, whole)))


def _group(group: GroupId, numbers: list[int], family: int, epoch: Columns) -> GroupEntry:
    columns: Columns = {f"slot{place}": np.array([number], np.uint32) for place, number in enumerate(numbers)}
    columns["balancer"] = np.array([group], np.uint32)
    return GroupEntry(group, _one(affinity_group_template(family, len(numbers)), columns | epoch))


def _one(template: Template, columns: Columns) -> bytes:
    return bytes(template.stamp(columns)[0])
