"""From what a switch holds to what it should hold: ordered messages, made before they break.

First everything new, unit by unit (groups before the flows that name them); then what no longer belongs, in the reverse
order. A flow that replaces another under the same key is no deletion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from antrea_proxy.openflow.constants import (
    ALL_TABLES,
    Cookie,
    FlowModCommand,
    GroupId,
    GroupModCommand,
    GroupType,
)
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.messages import FlowMod, GroupMod
from antrea_proxy.pipeline.units import EMPTY, Owner, OwnerKind, Unit

BUNDLE_MESSAGES: Final = 500
"""How many messages a bundle aims at: committing more at once would stop forwarding for over 10 ms."""

_EXACT: Final = 0xFFFFFFFFFFFFFFFF


SWEEP: Final = Owner(OwnerKind.BASE, "what does not belong")
"""Stands in a Part for the owner that is not known any more."""


class Part(NamedTuple):
    """The messages of one owner within a step."""

    owner: Owner
    messages: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Messages that take effect together: whole parts.

    A part alone is split that has more than BUNDLE_MESSAGES, a slot table: slot by slot it may change, and the flow
    that leads to a new one comes last.
    """

    parts: tuple[Part, ...]

    @property
    def messages(self) -> list[bytes]:
        """The messages of all parts, in order."""
        return [message for part in self.parts for message in part.messages]


def difference(installed: Mapping[Owner, Unit], desired: Mapping[Owner, Unit]) -> list[Step]:
    """The steps that take the owners in `desired` from their installed units to the desired ones."""
    additions = [
        Part(owner, messages)
        for owner, unit in desired.items()
        if (messages := _additions(installed.get(owner, EMPTY), unit))
    ]
    deletions = [
        Part(owner, messages)
        for owner, unit in desired.items()
        if (messages := _deletions(installed.get(owner, EMPTY), unit))
    ]
    total = sum(len(messages) for _, messages in (*additions, *deletions))
    if total <= BUNDLE_MESSAGES:
        return list(_bundled([*additions, *deletions]))
    return [*_bundled(additions), *_bundled(deletions)]


def completion(
    present_flows: Collection[Cookie], present_groups: Mapping[GroupId, bytes], desired: Mapping[Owner, Unit]
) -> list[Step]:
    """The steps that add what a switch with these flows (of ours) and groups (by content) lacks of the desired units.

    What does not belong is left, and goes last: see `sweep`.
    """
    additions: list[Part] = []
    for owner, unit in desired.items():
        messages = [
            group.message for group in unit.groups if present_groups.get(group.group_id) != group_content(group.message)
        ]
        messages += [entry.message for entry in unit.flows if entry.cookie not in present_flows]
        if messages:
            additions.append(Part(owner, messages))
    return list(_bundled(additions))


def sweep(
    present_flows: Collection[Cookie], present_groups: Collection[GroupId], desired: Mapping[Owner, Unit]
) -> list[Step]:
    """The steps that remove the flows (of ours) and groups of a switch that are in no desired unit."""
    wanted_flows = {entry.cookie for unit in desired.values() for entry in unit.flows}
    wanted_groups = {group.group_id for unit in desired.values() for group in unit.groups}
    stale = [_delete_flow(cookie) for cookie in present_flows if cookie not in wanted_flows]
    stale += [_delete_group(number) for number in present_groups if number not in wanted_groups]
    return list(_bundled([Part(SWEEP, [message]) for message in stale]))


def group_content(message: bytes) -> bytes:
    """The buckets and properties of an encoded GroupMod, as a switch gives them back (OpenFlow 1.5.1, 7.3.4.3)."""
    return message[_GROUP_BUCKETS:]


_GROUP_BUCKETS: Final = 24


def _additions(before: Unit, after: Unit) -> list[bytes]:
    known_groups, known_flows = set(before.groups), {entry.cookie for entry in before.flows}
    messages = [group.message for group in after.groups if group not in known_groups]
    return messages + [entry.message for entry in after.flows if entry.cookie not in known_flows]


def _deletions(before: Unit, after: Unit) -> list[bytes]:
    kept_flows = {entry.key for entry in after.flows}
    kept_groups = {group.group_id for group in after.groups}
    messages = [_delete_flow(entry.cookie) for entry in reversed(before.flows) if entry.key not in kept_flows]
    return messages + [_delete_group(group.group_id) for group in before.groups if group.group_id not in kept_groups]


def _delete_flow(cookie: Cookie) -> bytes:
    return encode(FlowMod(command=FlowModCommand.DELETE, table=ALL_TABLES, cookie=cookie, cookie_mask=_EXACT))


def _delete_group(number: GroupId) -> bytes:
    return encode(GroupMod(command=GroupModCommand.DELETE, type=GroupType.SELECT, group_id=number, buckets=()))


def _bundled(parts: Sequence[Part]) -> Iterator[Step]:
    """Gather parts into steps of about BUNDLE_MESSAGES."""
    gathered: list[Part] = []
    count = 0
    for part in parts:
        for start in range(0, len(part.messages), BUNDLE_MESSAGES):
            piece = Part(part.owner, part.messages[start : start + BUNDLE_MESSAGES])
            if gathered and count + len(piece.messages) > BUNDLE_MESSAGES:
                yield Step(parts=tuple(gathered))
                gathered, count = [], 0
            gathered.append(piece)
            count += len(piece.messages)
    if gathered:
        yield Step(parts=tuple(gathered))
