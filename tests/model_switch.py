"""A switch in memory, atomic like the real one: it takes encoded messages and answers which flow a packet meets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from antrea_proxy.agent.errors import CommitRefused
from antrea_proxy.openflow.actions import Group
from antrea_proxy.openflow.constants import Cookie, FlowModCommand, GroupId, GroupModCommand
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod, GroupMod
from antrea_proxy.pipeline.changes import group_content

_Key = tuple[int, int, Match]


@dataclass
class ModelSwitch:
    """Flows by table, priority and match; groups by number. A deleted group takes the flows with it that name it."""

    flows: dict[_Key, FlowMod] = field(default_factory=dict)
    groups: dict[GroupId, bytes] = field(default_factory=dict)

    def apply(self, messages: Sequence[bytes]) -> None:
        """Take all messages, or none of them (CommitRefused)."""
        flows, groups = dict(self.flows), dict(self.groups)
        for place, data in enumerate(messages):
            message, _ = decode(data)
            if isinstance(message, GroupMod):
                self._group(message, data, flows, groups)
            elif isinstance(message, FlowMod):
                self._flow(message, flows, groups, place)
        self.flows, self.groups = flows, groups

    @property
    def cookies(self) -> set[Cookie]:
        """The cookies of all flows."""
        return {flow.cookie for flow in self.flows.values()}

    def balances(self, match: Match) -> bool:
        """Whether a flow with exactly this match exists and does something."""
        return any(key[2] == match and flow.actions for key, flow in self.flows.items())

    @staticmethod
    def _group(message: GroupMod, data: bytes, flows: dict[_Key, FlowMod], groups: dict[GroupId, bytes]) -> None:
        if message.command is GroupModCommand.DELETE:
            groups.pop(message.group_id, None)
            for key in [key for key, flow in flows.items() if Group(message.group_id) in flow.actions]:
                del flows[key]
        else:
            groups[message.group_id] = group_content(data)

    @staticmethod
    def _flow(message: FlowMod, flows: dict[_Key, FlowMod], groups: dict[GroupId, bytes], place: int) -> None:
        if message.command is FlowModCommand.DELETE:
            for key in [key for key, flow in flows.items() if flow.cookie == message.cookie]:
                del flows[key]
            return
        if message.command is FlowModCommand.DELETE_STRICT:
            flows.pop((message.table, message.priority, message.match), None)
            return
        for action in message.actions:
            if isinstance(action, Group) and action.group_id not in groups:
                raise CommitRefused({place: "BAD_ACTION/BAD_OUT_GROUP"})
        flows[message.table, message.priority, message.match] = message
