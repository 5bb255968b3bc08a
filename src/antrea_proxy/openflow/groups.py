"""The parts of a group (OpenFlow 1.5.1 section 7.3.4.3)."""

from __future__ import annotations

from dataclasses import dataclass

from antrea_proxy.openflow.actions import Action
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.fields import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One choice of a group. `weight`, of select groups, is 0 to 65535; None leaves the property out."""

    bucket_id: int
    actions: tuple[Action, ...]
    weight: int | None = None
    watch_port: int | None = None
    watch_group: GroupId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionMethod:
    """How a select group chooses: Netronome's property, as Open vSwitch knows it (`dp_hash`, `hash`).

    `fields` are for `hash`: each with the mask of the bits that count.
    """

    name: str
    parameter: int = 0
    fields: tuple[tuple[Field, int], ...] = ()
