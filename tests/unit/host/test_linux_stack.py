"""Services alone are changed only on a Node that is known to hold what was asked for; else the stack asks for more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from antrea_proxy.host.desired import HostState
from antrea_proxy.host.errors import HostError
from antrea_proxy.host.host import Host, Repair
from antrea_proxy.host.linux import LinuxStack
from antrea_proxy.host.services import HostServices, NodePort
from antrea_proxy.network.values import ServiceEntry
from antrea_proxy.proxy.frontends import Protocol
from worlds import network

NETWORK = replace(network(), service_entry=ServiceEntry(local_addresses=(), node_port_addresses=(), localhost=True))


class FakeHost(Host):
    """Holds one state; what cannot be changed has to be applied."""

    def __init__(self) -> None:
        self.held: HostState | None = None
        self._refuses = False
        self.changeable = True

    async def apply(self, desired: HostState) -> Repair:
        """Hold it."""
        self._fail()
        self.held = desired
        return Repair(kernel=(), table=True, shielded_ports=frozenset())

    async def change(self, before: HostState, after: HostState) -> bool:
        """Go from what is held to another state."""
        self._fail()
        assert before == self.held
        if self.changeable:
            self.held = after
        return self.changeable

    async def beside_kube_proxy(self) -> bool:
        """There is no kube-proxy."""
        return False

    def node_ports(self) -> set[str]:
        """The IPv4 NodePorts that it holds."""
        sets = () if self.held is None else self.held.table.sets
        return {text for item in sets if item.name == "node_ports_v4" for text in item.elements}

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Let every call fail, for the block."""
        self._refuses = True
        yield
        self._refuses = False

    def _fail(self) -> None:
        if self._refuses:
            raise HostError("no space left on device")


def asking(port: int) -> HostServices:
    return HostServices(node_ports=frozenset({NodePort(4, Protocol.TCP, port)}))


async def apply(stack: LinuxStack, port: int) -> None:
    await stack.apply(NETWORK, asking(port), userspace_datapath=False)


def test_before_the_first_apply_services_cannot_be_changed_alone() -> None:
    async def run() -> None:
        host = FakeHost()
        assert not await LinuxStack(host).serve(asking(30080))
        assert host.held is None

    asyncio.run(run())


def test_after_an_apply_services_are_changed_alone_time_after_time() -> None:
    async def run() -> None:
        host = FakeHost()
        stack = LinuxStack(host)
        await apply(stack, 30080)
        for port in (30081, 30082):
            assert await stack.serve(asking(port))
            assert host.node_ports() == {f"tcp . {port}"}

    asyncio.run(run())


def test_after_an_apply_that_failed_they_cannot_until_one_succeeds() -> None:
    async def run() -> None:
        host = FakeHost()
        stack = LinuxStack(host)
        await apply(stack, 30080)
        with host.refusing(), pytest.raises(HostError):
            await apply(stack, 30081)
        assert not await stack.serve(asking(30081))
        assert host.node_ports() == {"tcp . 30080"}
        await apply(stack, 30081)
        assert await stack.serve(asking(30082))

    asyncio.run(run())


def test_after_a_change_that_failed_they_cannot() -> None:
    async def run() -> None:
        host = FakeHost()
        stack = LinuxStack(host)
        await apply(stack, 30080)
        with host.refusing(), pytest.raises(HostError):
            await stack.serve(asking(30081))
        assert not await stack.serve(asking(30081))
        assert host.node_ports() == {"tcp . 30080"}

    asyncio.run(run())


def test_after_a_change_that_was_not_possible_they_cannot() -> None:
    async def run() -> None:
        host = FakeHost()
        stack = LinuxStack(host)
        await apply(stack, 30080)
        host.changeable = False
        assert not await stack.serve(asking(30081))
        host.changeable = True
        assert not await stack.serve(asking(30081))
        assert host.node_ports() == {"tcp . 30080"}

    asyncio.run(run())
