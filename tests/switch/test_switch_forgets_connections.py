"""The agent's side of the switch, asked to forget connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from antrea_proxy.agent.errors import FlushRefused, SwitchLost
from antrea_proxy.agent.switch import OpenFlowSwitch
from antrea_proxy.openflow.messages import ConntrackFlush, ConntrackTuple
from switch import ovs

ONE = ConntrackFlush(ip_proto=17, zone=65520, original=ConntrackTuple(destination=IPv4Address("10.96.0.10")))
OF_BOTH_FAMILIES = ConntrackFlush(
    zone=65520, original=ConntrackTuple(source=IPv4Address("10.96.0.10"), destination=IPv6Address("fd00::1"))
)


@contextlib.asynccontextmanager
async def linked(socket: Path, *, greeted: bool = True) -> AsyncIterator[OpenFlowSwitch]:
    """Connect to a switch, or only begin to; leave no connection behind."""
    switch = OpenFlowSwitch(socket)
    connecting = asyncio.create_task(switch.connect())
    if greeted:
        await connecting
    else:
        await asyncio.sleep(0.05)
    try:
        yield switch
    finally:
        assert switch._link is not None
        switch._link.close()
        await asyncio.gather(connecting, return_exceptions=True)


def test_what_the_switch_cannot_forget_is_told_and_the_connection_goes_on(switch: ovs.Switch) -> None:
    async def run() -> None:
        async with linked(switch.management) as agent:
            await agent.flush([ONE, ONE])
            with pytest.raises(FlushRefused, match="BAD_"):
                await agent.flush([ONE, OF_BOTH_FAMILIES, ONE])
            await agent.flush([ONE])
            await agent.contents()

    asyncio.run(run())


def test_a_switch_that_has_not_greeted_yet_counts_as_lost(tmp_path: Path) -> None:
    """The agent reconnects, and what forgets connections runs beside it."""

    async def never_greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def run() -> None:
        async with (
            await asyncio.start_unix_server(never_greet, tmp_path / "silent"),
            linked(tmp_path / "silent", greeted=False) as agent,
        ):
            with pytest.raises(SwitchLost, match="handshake"):
                await agent.flush([ONE])

    asyncio.run(run())
