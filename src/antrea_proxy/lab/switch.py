"""A Node's own Open vSwitch: database, daemon, and with the userspace datapath the bridge of the tunnel's uplink.

The two programs run in the Node's network namespace with a run directory of their own, as children of the spawner.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface
from pathlib import Path

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.processes import Process, Spawner
from antrea_proxy.lab.spawner import Start
from antrea_proxy.lab.underlay import TUNNEL_UPLINK, no_dad, tunnel_mac
from antrea_proxy.lab.waiting import until

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
TUNNEL_BRIDGE = "br-phy"
START_SECONDS = 30
NICENESS = -10
"""As Open vSwitch's own start script gives both programs (ovs-ctl(8)): packets wait for nothing else on the machine."""
STOP_SECONDS = 10.0
ROUTE_RETRY_SECONDS = 0.05
PROGRAMS = {
    "ovsdb-server": "openvswitch-switch",
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "ovs-vsctl": "openvswitch-common",
    "ovs-appctl": "openvswitch-common",
}


def locate_programs() -> None:
    """Make sure that Open vSwitch is installed.

    Raises LabError naming what is missing and the packages that bring it.
    """
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing and not SCHEMA.is_file():
        missing = [str(SCHEMA)]
    if missing:
        packages = sorted({PROGRAMS.get(name, "openvswitch-common") for name in missing})
        raise LabError(
            f"Open vSwitch is missing ({', '.join(missing)}): on Debian, "
            f"`apt-get install {' '.join(packages)}` brings it"
        )


def kernel_has_openvswitch() -> bool:
    """Whether the kernel's own datapath is there: loaded, or a module that can be."""
    if Path("/sys/module/openvswitch").exists():
        return True
    release = Path("/lib/modules", os.uname().release)
    try:
        listed = (release / "modules.dep").read_text() + (release / "modules.builtin").read_text()
    except FileNotFoundError:
        return False
    return "/openvswitch.ko" in listed


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelAddress:
    """A tunnel endpoint on br-phy: an address with its prefix length and the MAC address it is found behind."""

    address: str
    prefix_length: int
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelRoute:
    """Tunnel endpoints of another subnet, and the router by which they are reached."""

    network: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address


class Switch:
    """One Node's OVS; `number` gives the uplink bridge its MAC address."""

    def __init__(self, *, spawner: Spawner, node: str, number: int, netns: Path, directory: Path) -> None:
        self._spawner = spawner
        self._node = node
        self._number = number
        self._netns = netns
        self._directory = directory
        self._database: Process | None = None
        self._daemon: Process | None = None
        self._own: tuple[TunnelAddress, ...] = ()
        self._neighbours: tuple[TunnelAddress, ...] = ()
        self._beyond: tuple[TunnelRoute, ...] = ()

    @property
    def database(self) -> Process | None:
        """The running ovsdb-server."""
        return self._database

    @property
    def daemon(self) -> Process | None:
        """The running ovs-vswitchd."""
        return self._daemon

    @property
    def environment(self) -> Mapping[str, str]:
        """What makes ovs-vsctl, ovs-ofctl and ovs-appctl speak to this switch."""
        place = str(self._directory)
        return os.environ | {"OVS_RUNDIR": place, "OVS_LOGDIR": place, "OVS_DBDIR": place, "OVS_SYSCONFDIR": place}

    async def start(self, *, empty_database: Path) -> None:
        """Start with a copy of an empty database, or with the one that is there.

        Raises LabError with the program's last words where it does not come up.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        database = self._directory / "conf.db"
        if not database.exists():
            shutil.copy(empty_database, database)
        await self.start_database()
        await self.command(
            f"ovs-vsctl --no-wait --retry --timeout={START_SECONDS} init -- set Open_vSwitch ."
            f" external_ids:system-id={self._node} external_ids:hostname={self._node}"
            " other_config:n-handler-threads=1 other_config:n-revalidator-threads=1".split()
        )
        await self.start_daemon()

    async def start_database(self) -> None:
        """Start ovsdb-server.

        Raises LabError where it cannot be started.
        """
        self._database = await self._start(
            "ovsdb-server", str(self._directory / "conf.db"), f"--remote=punix:{self._directory / 'db.sock'}"
        )

    async def start_daemon(self) -> None:
        """Start ovs-vswitchd and put back what a Node's boot configures beside it: addresses and tunnel neighbours.

        Raises LabError where it cannot be started.
        """
        # It would copy the kernel's routes anew whenever an interface comes or goes, as Pods' do. What it decides on
        # tunnelled packets while that copy is incomplete sends them astray until it decides anew.
        self._daemon = await self._start(
            "ovs-vswitchd", f"unix:{self._directory / 'db.sock'}", "--disable-system-route"
        )
        if self._own:
            await self._configure_uplink()

    async def restart(self, *, kill: bool) -> None:
        """Stop ovs-vswitchd, with SIGKILL where `kill`, and start it again; the database stays.

        Raises LabError where it cannot be started.
        """
        if self._daemon is not None and self._daemon.running:
            if kill:
                self._daemon.signal(signal.SIGKILL)
                await self._daemon.wait()
            else:
                await self._daemon.stop(grace=STOP_SECONDS)
        await self.start_daemon()

    async def boot(self) -> None:
        """Start both programs with the database that is there, after the Node went down with those that ran.

        Raises LabError where one cannot be started.
        """
        for process in (self._database, self._daemon):
            if process is not None:
                await process.wait()
        await self.start_database()
        await self.start_daemon()

    async def join_tunnels(
        self,
        own: tuple[TunnelAddress, ...],
        neighbours: tuple[TunnelAddress, ...],
        beyond: tuple[TunnelRoute, ...],
    ) -> None:
        """Make br-phy with the Node's tunnel addresses, and tell the switch where the peers' are.

        Raises LabError with the words of the program that failed.
        """
        self._own, self._neighbours, self._beyond = own, neighbours, beyond
        await self.command(
            f"ovs-vsctl --timeout={START_SECONDS} add-br {TUNNEL_BRIDGE}"
            f" -- set bridge {TUNNEL_BRIDGE} datapath_type=netdev fail-mode=standalone"
            f' other_config:hwaddr="{tunnel_mac(self._number)}"'
            f" -- add-port {TUNNEL_BRIDGE} {TUNNEL_UPLINK}".split()
        )
        await self._configure_uplink()

    async def seed_neighbours(self) -> None:
        """Tell the switch its neighbours' MAC addresses: no first packet is lost to ARP. They age in 15 minutes.

        Raises LabError with the words of ovs-appctl.
        """
        for one in self._neighbours:
            await self.command(["ovs-appctl", "--timeout=10", "tnl/arp/set", TUNNEL_BRIDGE, one.address, one.mac])

    async def stop(self) -> None:
        """End both programs; what they made in the kernel goes with them."""
        if self._daemon is not None and self._daemon.running:
            await self.command(["ovs-appctl", "--timeout=5", "exit", "--cleanup"], tolerant=True)
            await self._daemon.stop(grace=STOP_SECONDS)
        if self._database is not None and self._database.running:
            await self._database.stop(grace=STOP_SECONDS)

    async def command(self, argv: Sequence[str], *, stdin: str = "", tolerant: bool = False) -> str:
        """Run a command in the Node's network namespace against this switch and give its standard output.

        Raises LabError with its error output where it fails and this is not tolerated.
        """
        done = await self._spawner.run(
            argv, netns=self._netns, stdin=stdin.encode(), environment=self.environment, seconds=START_SECONDS + 5
        )
        if done.status != 0 and not tolerant:
            raise LabError(f"{self._node}: `{' '.join(argv)}` failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")

    async def _configure_uplink(self) -> None:
        # The kernel sees a copy of every frame that the switch reads by AF_PACKET; it must not answer too.
        await self.command(
            ["nft", "-f", "-"],
            stdin="table netdev lab-uplink { chain ingress_copy {"
            f" type filter hook ingress device {TUNNEL_UPLINK} priority 0; policy drop; }}; }}\n",
        )
        await until(self._uplink_is_there, f"{self._node}: {TUNNEL_BRIDGE} appears", seconds=START_SECONDS)
        lines = [f"link set {TUNNEL_BRIDGE} up"]
        lines += [
            f"address replace {own.address}/{own.prefix_length} dev {TUNNEL_BRIDGE}{no_dad(own.address)}"
            for own in self._own
        ]
        await asyncio.to_thread(namespaces.ip_in, self._netns.name, lines)
        for own in self._own:
            await self._route_to_peers(ip_interface(f"{own.address}/{own.prefix_length}").network)
        for route in self._beyond:
            await self._route_to_peers(route.network, str(route.gateway))
        await self.seed_neighbours()

    async def _route_to_peers(self, network: IPv4Network | IPv6Network, *gateway: str) -> None:
        """Give the switch its route to the peers' tunnel ends; it refuses until it has seen the bridge's address."""
        command = ["ovs-appctl", "--timeout=10", "ovs/route/add", str(network), TUNNEL_BRIDGE, *gateway]
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self.command(command, tolerant=True):  # noqa: ASYNC110 - another program's state
                    await asyncio.sleep(ROUTE_RETRY_SECONDS)
        except TimeoutError:
            await self.command(command)

    def _uplink_is_there(self) -> bool:
        with namespaces.inside(self._netns):
            return Path("/proc/sys/net/ipv4/conf", TUNNEL_BRIDGE).exists()

    async def _start(self, program: str, *arguments: str) -> Process:
        log = self._directory / f"{program}.log"
        with log.open("ab") as output:
            process = await self._spawner.start(
                Start(
                    argv=(program, *arguments, "--pidfile", "--no-chdir", "-vsyslog:off", "-vconsole:info"),
                    netns=str(self._netns),
                    environment=dict(self.environment),
                    niceness=NICENESS,
                ),
                output=output.fileno(),
            )
        # The control socket is the last thing that both programs make before they serve.
        control = self._directory / f"{program}.{process.pid}.ctl"
        await until(
            lambda: control.exists() or not process.running, f"{self._node}: {program} serves", seconds=START_SECONDS
        )
        if not process.running:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise LabError(f"{self._node}: {program} ended at its start: {' '.join(last)}; see {log}")
        return process
