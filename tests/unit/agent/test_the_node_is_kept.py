"""The Node is kept as the network asks for, against a database, a kernel and an nft in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
import structlog.testing

from antrea_proxy.agent.errors import ForeignBridge
from antrea_proxy.agent.node_keeper import NodeKeeper
from antrea_proxy.agent.status import HostReport
from antrea_proxy.host.host import Host
from antrea_proxy.host.linux import LinuxStack
from antrea_proxy.host.nftables import Table
from antrea_proxy.host.services import External, HostServices, NodePort
from antrea_proxy.host.values import Link
from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.network.values import ServiceEntry, Uplink
from antrea_proxy.ovsdb import OURS
from antrea_proxy.proxy.frontends import Protocol
from antrea_proxy.settings import Settings
from host_fakes import FakeKernel, FakeNft
from ovsdb_fakes import FakeDatabase
from worlds import network


@dataclass(slots=True)
class WatchedDatabase(FakeDatabase):
    """Also tells of changes, and lets internal ports be links of the kernel."""

    kernel: FakeKernel = field(default_factory=FakeKernel)
    change: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_change(self) -> None:
        """Return after the next change."""
        await self.change.wait()

    async def ensure_port(self, bridge: str, name: str, **given: Any) -> OfPort:  # noqa: ANN401 - the fake's own
        """Make a port and its link."""
        number = await FakeDatabase.ensure_port(self, bridge, name, **given)
        if given.get("type") == "internal":
            self.kernel.links.setdefault(name, Link(name=name, mac="02:00:00:00:00:01", mtu=1500, up=False))
        self.tell()
        return number

    def tell(self) -> None:
        """Wake those who wait."""
        self.change.set()
        self.change = asyncio.Event()

    def somebody_removes(self, name: str) -> None:
        """Remove a port and its link, as ovs-vsctl does."""
        del self.rows["br-int"][name]
        self.kernel.links.pop(name, None)
        self.kernel.addresses = [item for item in self.kernel.addresses if item.interface != name]
        self.tell()


@dataclass
class FakeLinks:
    """The Node's interfaces."""

    found: tuple[Uplink, ...] = ()
    change: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_change(self) -> None:
        """Return after the next change."""
        await self.change.wait()

    def close(self) -> None:
        """Tell no more."""

    def become(self, *found: Uplink) -> None:
        """Let the Node have these."""
        self.found = found
        self.change.set()
        self.change = asyncio.Event()

    async def uplinks(self, ours: frozenset[str] = frozenset()) -> tuple[Uplink, ...]:  # noqa: ARG002 - as the real one
        """Return what is there."""
        return self.found


WITH_SERVICES = replace(
    network(),
    service_entry=ServiceEntry(local_addresses=(), node_port_addresses=(), localhost=True),
)


def asking(*ports: int) -> HostServices:
    """What Services with these NodePorts ask for."""
    return HostServices(node_ports=frozenset(NodePort(4, Protocol.TCP, port) for port in ports))


class Kept:
    """A keeper and all that it keeps."""

    def __init__(self, *, repair_interval_s: float = 60.0) -> None:
        self.kernel = FakeKernel()
        self.nft = FakeNft()
        self.database = WatchedDatabase(kernel=self.kernel)
        self.links = FakeLinks()
        self.changes = 0
        self.reports: list[HostReport] = []
        self.keeper = NodeKeeper(
            settings=Settings(),
            database=self.database,
            stack=LinuxStack(Host(self.kernel, self.nft)),
            netlink=self.links,
            addresses=self.links,
            changed=self._count,
            report=self.reports.append,
            repair_interval_s=repair_interval_s,
        )

    def _count(self) -> None:
        self.changes += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Prepare the Node, run, and wait until it is kept."""
        await self.keeper.prepare()
        task = asyncio.create_task(self.keeper.run())
        self.keeper.want(network())
        try:
            await until(lambda: not self.keeper.problem)
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def node_ports(self) -> set[str]:
        """The IPv4 NodePorts that the Node's rules have; none where there is no table."""
        table = self.nft.tables.get("inet antrea-proxy")
        sets = table.sets if isinstance(table, Table) else ()
        return {text for item in sets if item.name == "node_ports_v4" for text in item.elements}

    def addresses(self) -> set[str]:
        """The gateway's addresses."""
        return {str(item.address) for item in self.kernel.addresses if item.interface == "antrea-gw0"}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition may be anything
            await asyncio.sleep(0.001)


def test_the_bridge_its_ports_and_the_node_are_made() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            ports = {name: port.ofport for name, port in kept.database.rows["br-int"].items()}
            assert {"antrea-tun0": 1, "antrea-gw0": 2, "antrea-refuse0": 3}.items() <= ports.items()
            assert kept.addresses() == {"10.10.1.1/24", "fd00:10:1::1/64"}
            assert await kept.keeper.is_ours()

    asyncio.run(run())


def test_the_mtu_of_gateway_and_refusal_port_is_asked_of_the_switch_which_would_choose_its_own() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            assert kept.database.mtu_requests == {"antrea-gw0": 1450, "antrea-refuse0": 1450}
            kept.keeper.want(replace(network(), mtu=1400))
            await until(lambda: kept.database.mtu_requests == {"antrea-gw0": 1400, "antrea-refuse0": 1400})

    asyncio.run(run())


@pytest.mark.parametrize("name", ["antrea-gw0", "antrea-refuse0", "antrea-tun0"])
def test_a_port_that_somebody_removes_comes_back_at_once_with_its_addresses(name: str) -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            kept.database.somebody_removes(name)
            await until(lambda: name in kept.database.rows["br-int"])
            await until(lambda: kept.addresses() == {"10.10.1.1/24", "fd00:10:1::1/64"})

    asyncio.run(run())


def test_a_bridge_that_somebody_removes_comes_back_with_our_mark() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            await kept.database.delete_bridge("br-int")
            kept.database.tell()
            await until(lambda: "antrea-gw0" in kept.database.rows.get("br-int", {}))
            assert OURS.items() <= kept.database.held["br-int"].external_ids.items()

    asyncio.run(run())


def test_an_nft_table_that_somebody_removes_comes_back_when_the_node_is_read_back() -> None:
    async def run() -> None:
        kept = Kept(repair_interval_s=0.01)
        async with kept.running():
            tables = dict(kept.nft.tables)
            kept.nft.tables.clear()
            await until(lambda: kept.nft.tables == tables)

    asyncio.run(run())


def test_changes_of_pods_ports_do_not_let_the_whole_node_be_read_back() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            await asyncio.sleep(0.01)
            kept.nft.tables.clear()
            kept.database.devices.add("veth1")
            await kept.database.ensure_port("br-int", "veth1")
            await asyncio.sleep(0.01)
            assert not kept.nft.tables
            kept.keeper.switch_restored()
            await until(lambda: bool(kept.nft.tables))

    asyncio.run(run())


def test_a_problem_is_told_once_and_is_over_when_it_is_mended() -> None:
    async def run() -> None:
        kept = Kept(repair_interval_s=0.01)
        async with kept.running():
            kept.nft.words = "nft: permission denied"
            with structlog.testing.capture_logs() as logs:
                kept.keeper.switch_restored()
                await until(lambda: "permission denied" in kept.keeper.problem)
                for _ in range(3):
                    kept.keeper.switch_restored()
                    await asyncio.sleep(0.005)
            assert [entry["log_level"] for entry in logs] == ["error"]
            kept.nft.words = ""
            kept.keeper.switch_restored()
            await until(lambda: not kept.keeper.problem)

    asyncio.run(run())


def test_another_network_is_applied() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            kept.keeper.want(replace(network(), tunnel=None))
            await until(lambda: "antrea-tun0" not in kept.database.rows["br-int"])

    asyncio.run(run())


def test_a_change_of_the_nodes_interfaces_is_told() -> None:
    async def run() -> None:
        kept = Kept(repair_interval_s=0.01)
        async with kept.running():
            kept.links.found = (Uplink(name="eth9", mtu=1500, addresses=()),)
            await until(lambda: kept.changes == 1)
            assert kept.keeper.uplinks == kept.links.found

    asyncio.run(run())


def test_a_port_number_that_another_port_has_is_named_with_the_remedy_and_taken_when_it_is_free() -> None:
    async def run() -> None:
        kept = Kept(repair_interval_s=0.01)
        await kept.keeper.prepare()
        await kept.database.ensure_port("br-int", "foreign0", type="internal", ofport_request=2)
        task = asyncio.create_task(kept.keeper.run())
        kept.keeper.want(network())
        await until(lambda: "ovs-vsctl del-port br-int foreign0" in kept.keeper.problem)
        kept.database.somebody_removes("foreign0")
        kept.keeper.switch_restored()
        await until(lambda: not kept.keeper.problem)
        assert kept.database.rows["br-int"]["antrea-gw0"].ofport == 2
        task.cancel()

    asyncio.run(run())


def test_cleanup_removes_what_is_ours() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            pass
        await kept.keeper.cleanup()
        assert not kept.database.held
        assert not kept.nft.tables
        assert not kept.kernel.routes

    asyncio.run(run())


def test_cleanup_leaves_a_bridge_without_our_mark_alone_and_says_so() -> None:
    async def run() -> None:
        kept = Kept()
        await kept.database.ensure_bridge("br-int", "netdev")
        with pytest.raises(ForeignBridge, match="ovs-vsctl del-br br-int"):
            await kept.keeper.cleanup()
        assert "br-int" in kept.database.held

    asyncio.run(run())


def test_before_services_are_known_the_rules_of_a_former_agent_stay() -> None:
    """They lead traffic to a switch that still has its flows."""

    async def run() -> None:
        kept = Kept()
        former = object()
        kept.nft.tables["inet antrea-proxy"] = former
        await kept.keeper.prepare()
        task = asyncio.create_task(kept.keeper.run())
        kept.keeper.want(WITH_SERVICES)
        await until(lambda: "Services" in kept.keeper.problem)
        assert kept.nft.tables["inet antrea-proxy"] is former
        kept.keeper.want_services(asking(30080))
        await until(lambda: kept.node_ports() == {"tcp . 30080"})
        assert not kept.keeper.problem
        task.cancel()

    asyncio.run(run())


def test_a_change_of_services_is_made_without_reading_the_node_back_and_told_when_it_is_done() -> None:
    async def run() -> None:
        kept = Kept()
        kept.keeper.want_services(asking(30080))
        async with kept.running():
            kept.keeper.want(WITH_SERVICES)
            await until(lambda: kept.node_ports() == {"tcp . 30080"} and not kept.reports[-1].pending)
            kept.kernel.read_backs = 0
            kept.keeper.want_services(asking(30081))
            assert kept.reports[-1].pending
            await until(lambda: not kept.reports[-1].pending)
            assert kept.node_ports() == {"tcp . 30081"}
            assert kept.kernel.read_backs == 0

    asyncio.run(run())


def test_rules_that_somebody_took_away_are_whole_again_after_the_next_change_of_services() -> None:
    async def run() -> None:
        kept = Kept()
        kept.keeper.want_services(asking(30080))
        async with kept.running():
            kept.keeper.want(WITH_SERVICES)
            await until(lambda: kept.node_ports() == {"tcp . 30080"})
            kept.nft.tables.clear()
            kept.keeper.want_services(asking(30080, 30081))
            await until(lambda: kept.node_ports() == {"tcp . 30080", "tcp . 30081"})

    asyncio.run(run())


def test_nft_that_refuses_is_told_and_tried_again() -> None:
    async def run() -> None:
        kept = Kept()
        kept.keeper.want_services(asking(30080))
        async with kept.running():
            kept.keeper.want(WITH_SERVICES)
            await until(lambda: kept.node_ports() == {"tcp . 30080"})
            kept.nft.words = "nft: no space left on device"
            kept.keeper.want_services(asking(30081))
            await until(lambda: "no space left" in kept.reports[-1].problem)
            kept.nft.words = ""
            await until(lambda: not kept.reports[-1].problem)
            assert kept.node_ports() == {"tcp . 30081"}

    asyncio.run(run())


def test_services_change_also_while_the_switch_cannot_be_kept() -> None:
    async def run() -> None:
        kept = Kept()
        kept.keeper.want_services(asking(30080))
        async with kept.running():
            kept.keeper.want(WITH_SERVICES)
            await until(lambda: kept.node_ports() == {"tcp . 30080"})
            kept.database.offered = frozenset()
            kept.keeper.switch_restored()
            await until(lambda: bool(kept.keeper.problem))
            kept.keeper.want_services(asking(30081))
            await until(lambda: kept.node_ports() == {"tcp . 30081"})
            assert kept.keeper.problem

    asyncio.run(run())


def test_an_address_that_comes_is_told_at_once() -> None:
    async def run() -> None:
        kept = Kept()
        async with kept.running():
            uplink = Uplink(name="eth0", mtu=1500, addresses=(IPv4Interface("172.18.0.1/24"),))
            kept.links.become(uplink)
            await until(lambda: kept.changes == 1)
            assert kept.keeper.uplinks == (uplink,)

    asyncio.run(run())


def test_a_route_of_somebody_else_to_a_services_address_is_told_and_keeps_no_pod_waiting() -> None:
    async def run() -> None:
        kept = Kept()
        address = IPv4Address("172.31.0.1")
        kept.kernel.foreign_routes.add(IPv4Network("172.31.0.1/32"))
        kept.keeper.want_services(HostServices(externals=frozenset({External(address, Protocol.TCP, 80)})))
        async with kept.running():
            kept.keeper.want(WITH_SERVICES)
            await until(lambda: kept.reports[-1].taken == {address})
            assert not kept.keeper.problem
            kept.kernel.foreign_routes.clear()
            await until(lambda: not kept.reports[-1].taken)
            assert (IPv4Network("172.31.0.1/32"), 254) in kept.kernel.routes

    asyncio.run(run())
