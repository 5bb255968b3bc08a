"""The switch in memory as the agent's loop reaches it, with the faults that a test asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from antrea_proxy.agent.errors import CommitRefused, SwitchLost
from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.openflow.action_encoding import encode_instructions
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.openflow.match_encoding import match_bytes
from antrea_proxy.openflow.messages import FlowMod, Message
from antrea_proxy.pipeline.affinity import balancer_of
from antrea_proxy.pipeline.units import is_ours
from model_switch import ModelSwitch


class Fault(Enum):
    """What goes wrong with a commit."""

    NONE = "nothing"
    LOST_BEFORE = "the switch is lost before the commit took effect"
    LOST_AFTER = "the switch is lost after the commit took effect"


@dataclass
class AsyncModelSwitch:
    """Stands in for `OpenFlowSwitch`.

    `faults` are those of the next commits; `refuses` says which messages are refused. `held` makes commits wait for
    `release`. After every commit that took effect, `looked` is called.
    """

    model: ModelSwitch = field(default_factory=ModelSwitch)
    faults: list[Fault] = field(default_factory=list)
    refuses: Callable[[Message], bool] = lambda _: False
    looked: Callable[[], None] = lambda: None
    commits: list[Sequence[bytes]] = field(default_factory=list)
    connections: int = 0
    out_of_reach: bool = False
    _lost: asyncio.Event | None = None
    _gate: asyncio.Event | None = None

    async def connect(self) -> None:
        """Connect anew."""
        await asyncio.sleep(0)
        if self.out_of_reach:
            raise SwitchLost("no such socket")
        self.connections += 1
        self._lost = asyncio.Event()

    async def contents(self) -> SwitchContents:
        """Read everything back."""
        self._require()
        await asyncio.sleep(0)
        entries = [described(flow) for flow in self.model.flows.values()]
        flows = {entry.cookie: entry for entry in entries if balancer_of(entry.cookie) is None}
        return SwitchContents(
            flows=flows,
            learned=[entry for entry in entries if balancer_of(entry.cookie) is not None],
            foreign_flows=[flow for cookie, flow in flows.items() if not is_ours(cookie)],
            groups=dict(self.model.groups),
        )

    async def learned(self) -> Sequence[FlowDesc]:
        """Read back what it has learned."""
        return (await self.contents()).learned

    async def commit(self, messages: Sequence[bytes]) -> None:
        """Let messages take effect, unless a fault prevents it."""
        self._require()
        await asyncio.sleep(0)
        if self._gate is not None:
            await self._gate.wait()
        self._require()
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.LOST_BEFORE:
            self.lose()
            raise SwitchLost("lost before")
        for place, data in enumerate(messages):
            if self.refuses(decode(data)[0]):
                raise CommitRefused({place: "TABLE_FULL"})
        self.model.apply(messages)
        self.commits.append(messages)
        self.looked()
        if fault is Fault.LOST_AFTER:
            self.lose()
            raise SwitchLost("lost after")

    async def wait_lost(self) -> None:
        """Return when the connection has ended."""
        assert self._lost is not None
        await self._lost.wait()

    def lose(self) -> None:
        """End the connection."""
        if self._lost is not None:
            self._lost.set()

    def hold(self) -> None:
        """Let commits wait."""
        self._gate = asyncio.Event()

    def release(self) -> None:
        """Let them go on."""
        if self._gate is not None:
            self._gate.set()
        self._gate = None

    def _require(self) -> None:
        if self._lost is None or self._lost.is_set():
            raise SwitchLost("not connected")


def described(flow: FlowMod) -> FlowDesc:
    """A flow as a switch gives it back."""
    return FlowDesc(
        table=flow.table,
        priority=flow.priority,
        cookie=flow.cookie,
        idle_timeout=flow.idle_timeout,
        hard_timeout=flow.hard_timeout,
        flags=flow.flags,
        importance=flow.importance,
        match_bytes=match_bytes(flow.match),
        stats_bytes=b"",
        instruction_bytes=encode_instructions(flow.actions),
    )
