"""The agent's CNI side alone, on a real switch: what main.py joins, without Services. Run inside of a Node's namespace.

Usage: cni_agent.py RUN_DIRECTORY OVS_SOCKET STATE_FILE CIDR…
"""

from __future__ import annotations

import asyncio
import signal
import sys
from ipaddress import ip_network
from pathlib import Path

from antrea_proxy.cni.ipam import AddressPool
from antrea_proxy.cni.pods import PodWiring
from antrea_proxy.cni.server import CniServer
from antrea_proxy.cni.state_file import StateFile
from antrea_proxy.cni.wires import PodWires
from antrea_proxy.host.host import Host
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.host.pod_links import PodLinks
from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.ovsdb import Database


async def no_flows(_: PodInterface) -> None:
    """The test's bridge forwards by itself."""


async def main() -> None:
    """Serve until SIGTERM."""
    run_directory, ovs_socket, state, *cidrs = sys.argv[1:]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Database(ovs_socket) as database:
        wiring = PodWiring(
            wires=PodWires(switch=database, links=PodLinks(), shield=Host(Netlink(), Nft()), bridge="br-int"),
            pool=AddressPool(StateFile(Path(state)), cidrs=[ip_network(cidr) for cidr in cidrs]),
            mtu=lambda: 1450,
            wired=no_flows,
            unwired=no_flows,
            ready=lambda: None,
        )
        restored = await wiring.restore()
        async with CniServer(Path(run_directory) / "cni.sock", wiring):
            sys.stdout.write(f"{len(restored.pods)} {len(restored.removed)} {'; '.join(restored.problems)}\n")
            sys.stdout.flush()
            await stop.wait()


asyncio.run(main())
