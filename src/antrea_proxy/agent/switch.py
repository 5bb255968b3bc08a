"""The switch over its management socket: asyncio around the OpenFlow connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antrea_proxy.agent.errors import CommitRefused, FlushRefused, SwitchLost
from antrea_proxy.openflow import events, messages
from antrea_proxy.openflow.action_encoding import encode_instructions
from antrea_proxy.openflow.actions import Output
from antrea_proxy.openflow.connection import Connection
from antrea_proxy.openflow.constants import OFPP_NORMAL, Cookie, GroupId
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.openflow.errors import DecodeError
from antrea_proxy.pipeline.affinity import balancer_of
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import is_ours

ANSWER_TIMEOUT_S: Final = 30.0
"""How long the switch may take to answer; it commits the largest bundle of ours in some 10 ms."""

SEND_BUFFER_BYTES: Final = 1 << 20
"""What is asked for; the kernel gives at most twice net.core.wmem_max (socket(7))."""

_NORMAL: Final = encode_instructions((Output(OFPP_NORMAL),))


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchContents:
    """What a switch holds: flows by cookie, the foreign ones among them, and groups by their bytes.

    What it has learned of clients stands apart.
    """

    flows: Mapping[Cookie, FlowDesc]
    learned: Sequence[FlowDesc]
    foreign_flows: Sequence[FlowDesc]
    groups: Mapping[GroupId, bytes]

    def foreign(self, *, groups_are_ours: bool) -> list[str]:
        """Describe what is not ours. Groups bear no mark, so that the bridge's mark decides."""
        found = [
            f"flow table={entry.table},priority={entry.priority},{_match_text(entry)} (cookie {entry.cookie:#x})"
            for entry in self.foreign_flows
        ]
        return found if groups_are_ours else found + [f"group {number}" for number in self.groups]


class OpenFlowSwitch:
    """One bridge at a time; `connect` makes a new connection. All methods raise SwitchLost when it ends."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._link: _Link | None = None

    async def connect(self) -> None:
        """Connect anew and shake hands."""
        if self._link is not None:
            self._link.close()
        loop = asyncio.get_running_loop()
        try:
            _, link = await loop.create_unix_connection(_Link, str(self._socket))
        except OSError as error:
            raise SwitchLost(f"{self._socket}: {error.strerror or error}; is ovs-vswitchd running?") from error
        self._link = link
        await link.ready()

    async def contents(self) -> SwitchContents:
        """Read back all flows and groups."""
        link = self._linked()
        flow_parts = await link.request(messages.FlowDescRequest())
        group_parts = await link.request(messages.GroupDescRequest())
        flows: list[FlowDesc] = []
        learned: list[FlowDesc] = []
        for entry in (entry for part in flow_parts for entry in part.flows):
            (flows if balancer_of(entry.cookie) is None else learned).append(entry)
        return SwitchContents(
            flows={entry.cookie: entry for entry in flows},
            learned=learned,
            foreign_flows=[entry for entry in flows if not is_ours(entry.cookie) and not _is_default(entry)],
            groups={entry.group_id: entry.raw for part in group_parts for entry in part.groups},
        )

    async def learned(self) -> Sequence[FlowDesc]:
        """Read back what it has learned of clients."""
        parts = await self._linked().request(messages.FlowDescRequest(table=Table.AFFINITY.id))
        return [entry for part in parts for entry in part.flows if balancer_of(entry.cookie) is not None]

    async def commit(self, wanted: Sequence[bytes]) -> None:
        """Let encoded messages take effect together, in their order. Raises CommitRefused when none of them did."""
        await self._linked().commit(wanted)

    async def flush(self, wanted: Sequence[messages.ConntrackFlush]) -> None:
        """Let the switch forget connections; return when it has. Raises FlushRefused for the first that it refuses."""
        await self._linked().flush(wanted)

    async def wait_lost(self) -> None:
        """Return when the connection has ended."""
        await self._linked().lost.wait()

    def _linked(self) -> _Link:
        if self._link is None:
            raise SwitchLost("the switch was not connected yet")
        return self._link


class _Link(asyncio.Protocol):
    """One connection: bytes in and out of the state machine, and futures for those who wait."""

    def __init__(self) -> None:
        self._connection = Connection()
        self._transport: asyncio.WriteTransport | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._bundles: dict[int, asyncio.Future[None]] = {}
        self._reason = ""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a stream's transport is one
        self._transport = transport
        # The switch is to have a whole bundle while the next is made: by default, some 200 KiB are taken off our hands.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._take(self._connection.receive_data(data))
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._take(self._connection.close())
        self._end(str(exc) if exc else "the switch closed the connection")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def ready(self) -> None:
        await self._within(self._ready, "the OpenFlow handshake")

    async def request(self, message: messages.Message) -> Any:  # noqa: ANN401 - parts of the request's own reply type
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._require_open()
        self._answers[self._connection.send(message)] = future
        self._flush()
        return await self._within(future, type(message).__name__)

    async def commit(self, wanted: Sequence[bytes]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._require_open()
        self._bundles[self._connection.commit(wanted)] = future
        self._flush()
        await self._within(future, "a bundle")

    async def flush(self, wanted: Sequence[messages.ConntrackFlush]) -> None:
        """A flush has no answer but its refusal; all that there are have come when the barrier is answered."""
        self._require_open()
        refusals: dict[int, asyncio.Future[Any]] = {}
        for message in wanted:
            refusals[self._connection.send(message)] = asyncio.get_running_loop().create_future()
        self._answers |= refusals
        try:
            await self.request(messages.BarrierRequest())
        finally:
            for xid in refusals:
                self._answers.pop(xid, None)
        for future in refusals.values():
            if future.done() and (error := future.exception()) is not None:
                raise FlushRefused(str(error))

    async def _within(self, future: asyncio.Future[Any], what: str) -> Any:  # noqa: ANN401 - whatever the future holds
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError as error:
            self.close()
            raise SwitchLost(f"the switch did not answer {what} within {ANSWER_TIMEOUT_S:.0f} s") from error

    def _require_open(self) -> None:
        if self.lost.is_set():
            raise SwitchLost(self._reason)
        if not self._ready.done():
            raise SwitchLost("the switch has not answered the OpenFlow handshake yet")

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data and self._transport is not None:
            self._transport.write(data)

    def _take(self, happened: Sequence[events.Event]) -> None:
        for event in happened:
            match event:
                case events.Connected():
                    _settle(self._ready, None)
                case events.MultipartReply():
                    _settle(self._answers.pop(event.xid, None), event.parts)
                case events.ReplyReceived():
                    _settle(self._answers.pop(event.xid, None), event.message)
                case events.SwitchError():
                    refused = SwitchLost(f"the switch refused a request: {event.error}")
                    _fail(self._answers.pop(event.xid, None), refused)
                case events.BundleCommitted():
                    _settle(self._bundles.pop(event.bundle_id, None), None)
                case events.BundleRefused():
                    errors = {refusal.index or 0: str(refusal.error) for refusal in event.refusals}
                    _fail(self._bundles.pop(event.bundle_id, None), CommitRefused(errors))
                case events.Closed():
                    self._end(event.reason)
                case _:
                    pass

    def _end(self, reason: str) -> None:
        self._reason = self._reason or reason
        self.lost.set()
        for future in (self._ready, *self._answers.values(), *self._bundles.values()):
            _fail(future, SwitchLost(self._reason))
        self._answers.clear()
        self._bundles.clear()
        self.close()


def _settle(future: asyncio.Future[Any] | None, result: object) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any] | None, error: Exception) -> None:
    if future is not None and not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: nobody may be waiting any more


def _is_default(entry: FlowDesc) -> bool:
    """Whether it is the flow that Open vSwitch itself gives to a bridge whose fail mode is standalone."""
    return (entry.table, entry.priority, entry.cookie) == (0, 0, 0) and entry.instruction_bytes == _NORMAL


def _match_text(entry: FlowDesc) -> str:
    """Others may match, in extensions of their own, what no decoder here knows."""
    try:
        return str(entry.match)
    except DecodeError as error:
        return f"a match that cannot be read ({error})"
