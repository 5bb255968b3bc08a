"""The lab's one daemon: API server, control plane, kubelets, and the supervision of everything else.

Started by `lab up` with the options on standard input; says how it gets on by lines of JSON on a pipe. When it ends,
however it ends, its spawner ends all that was started; an orderly end also removes namespaces and files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from antrea_proxy.lab import agent_config, control_server, leftovers, namespaces, underlay
from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.faults import Faults
from antrea_proxy.lab.api_server.resources import CONFIG_MAPS
from antrea_proxy.lab.api_server.server import ApiServer, listening_socket
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane import nodes
from antrea_proxy.lab.control_plane.manager import ControlPlane
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.node import LabNode, NodeParts
from antrea_proxy.lab.options import Datapath, LabOptions
from antrea_proxy.lab.places import Places
from antrea_proxy.lab.processes import Spawner
from antrea_proxy.lab.switch import SCHEMA, kernel_has_openvswitch
from antrea_proxy.lab.verbs import Verbs

API_PORT = 6443
_LOG = logging.getLogger("lab")
Report = Callable[[str], None]


class Lab:
    """A lab in the making, and then running, in this process."""

    def __init__(self, places: Places, options: LabOptions) -> None:
        self.places = places
        self.options = options
        self.plan = AddressPlan(family=options.ip_family, subnets=options.subnets)
        self.datapath = resolve_datapath(options.datapath)
        self.store = Store()
        self.faults = Faults()
        self.control_plane = ControlPlane(self.store, self.plan)
        self.nodes: dict[str, LabNode] = {}
        self.problems: list[str] = []
        self.overridden: tuple[str, ...] = ()
        self.lost: asyncio.Future[None] | None = None
        self.api_url = ""
        self.up_seconds = 0.0

    @contextlib.asynccontextmanager
    async def running(self, report: Report) -> AsyncIterator[None]:
        """Make the lab, run the block, take the lab down; nothing stays behind, whatever fails.

        Raises LabError with the reason where it cannot be made.
        """
        began = time.monotonic()
        self.places.directory.mkdir(parents=True, exist_ok=True)
        leftovers.note_netns_root(self.places.state_root)
        with self.places.daemon_log.open("ab") as log:
            spawner = Spawner(log)
        leftovers.record_processes(self.places, {"daemon": os.getpid(), "spawner": spawner.pid})
        background: list[asyncio.Task[None]] = []
        server: ApiServer | None = None
        control: asyncio.Server | None = None
        try:
            parts = NodeParts(
                places=self.places,
                options=self.options,
                datapath=self.datapath,
                spawner=spawner,
                store=self.store,
                events=self.control_plane.events,
                read_config=self._read_config,
            )
            report("underlay: a bridge, Nodes and clients on it")
            await asyncio.to_thread(underlay.build, self.places, self.options, tunnel_uplinks=parts.uplink_bridge)
            report("API server and control plane")
            server = await self._start_api_server()
            background.append(asyncio.create_task(self.control_plane.run(), name="control plane"))
            self.nodes = {name: LabNode(parts, number) for number, name in enumerate(self.options.node_names, 1)}
            self._register_nodes()
            report(f"switches: Open vSwitch on {self.options.nodes} Nodes, datapath {self.datapath}")
            await self._start_switches()
            for node in self.nodes.values():
                background.append(asyncio.create_task(node.kubelet.run(), name=f"kubelet of {node.name}"))
                background.append(asyncio.create_task(node.supervise(), name=f"supervision of {node.name}"))
            report("agents: one on each Node")
            await self._start_agents()
            control = await control_server.serve(self.places.control_socket, Verbs(self).handlers)
            self.up_seconds = time.monotonic() - began
            for task in background:
                task.add_done_callback(self._background_ended)
            self.lost = spawner.lost
            yield
        finally:
            if control is not None:
                control.close()
            await self._take_down(spawner, server, background)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.problems.append(f"{task.get_name()} failed: {error!r}; see {self.places.daemon_log}")
            _LOG.error("%s failed", task.get_name(), exc_info=error)

    async def _start_api_server(self) -> ApiServer:
        addresses = [str(address) for address in self.plan.api_server()]
        services = [str(network[1]) for network in self.plan.services]
        server = ApiServer(self.store, names=[*addresses, *services], faults=self.faults)
        with namespaces.inside(self.places.netns(underlay.UNDERLAY)):
            sockets = [listening_socket(address, API_PORT) for address in addresses]
        await server.start(sockets=sockets)
        self.api_url = server.url
        server.write_kubeconfig(self.places.kubeconfig)
        first = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        for name in self.options.node_names:
            places = self.places.node(name)
            server.write_kubeconfig(places.kubeconfig, f"https://{first}:{API_PORT}", user=f"system:node:{name}")
        self.control_plane.begin(api_addresses=addresses, api_port=API_PORT)
        namespace, name = agent_config.CONFIG_MAP
        data = {agent_config.CONFIG_KEY: self.options.config}
        self.store.create(CONFIG_MAPS, {"metadata": {"namespace": namespace, "name": name}, "data": data})
        return server

    def _register_nodes(self) -> None:
        for number, node in enumerate(self.nodes.values(), 1):
            facts = nodes.NodeFacts(
                name=node.name,
                addresses=node.addresses,
                pod_cidrs=[str(cidr) for cidr in self.plan.pod_cidrs(number)],
                zone=f"zone-{(number - 1) % self.options.zones + 1}",
                kernel=platform.release(),
                machine=platform.machine(),
            )
            nodes.register(self.store, facts)

    async def _start_switches(self) -> None:
        empty = self.places.directory / "empty.db"
        create = ["ovsdb-tool", "create", str(empty), str(SCHEMA)]
        done = await asyncio.to_thread(subprocess.run, create, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"`{' '.join(create)}` failed: {done.stderr.strip()}")
        await _all(node.start_switch(empty_database=empty) for node in self.nodes.values())

    async def _start_agents(self) -> None:
        async def start(node: LabNode) -> None:
            self.overridden = await node.agent.start()
            nodes.set_ready(self.store, node.name, ready=True, message="the agent wires Pods")

        await _all(start(node) for node in self.nodes.values())

    def _read_config(self) -> str:
        namespace, name = agent_config.CONFIG_MAP
        try:
            data = self.store.get(CONFIG_MAPS, namespace, name).get("data") or {}
        except ApiError as error:
            raise LabError(f"the agents' configuration cannot be read: {error}") from error
        if agent_config.CONFIG_KEY not in data:
            raise LabError(f"the ConfigMap {namespace}/{name} has no key {agent_config.CONFIG_KEY}")
        return str(data[agent_config.CONFIG_KEY])

    async def _take_down(
        self, spawner: Spawner, server: ApiServer | None, background: list[asyncio.Task[None]]
    ) -> None:
        for task in background:
            task.cancel()
        if background:
            await asyncio.wait(background)
        for node in self.nodes.values():
            await node.agent.stop(kill=True)
        if self.datapath is Datapath.SYSTEM:
            # The kernel's datapath outlives vswitchd unless it is told to clean up.
            await asyncio.gather(*(node.switch.stop() for node in self.nodes.values()), return_exceptions=True)
        if server is not None:
            await server.stop()
        await spawner.close()
        await asyncio.to_thread(leftovers.sweep, self.places)


async def _all(starts: object) -> None:
    """Run coroutines together; the first LabError of several is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:  # type: ignore[attr-defined]
                group.create_task(start)
    except* LabError as errors:
        raise errors.exceptions[0] from None


def resolve_datapath(asked: Datapath) -> Datapath:
    """Decide for `auto`, and refuse a kernel datapath that the kernel does not have.

    Raises LabError.
    """
    in_kernel = kernel_has_openvswitch()
    if asked is Datapath.AUTO:
        return Datapath.SYSTEM if in_kernel else Datapath.NETDEV
    if asked is Datapath.SYSTEM and not in_kernel:
        raise LabError("--datapath system: this kernel has no module openvswitch; use --datapath netdev")
    return asked


async def serve(places: Places, options: LabOptions, reports: int) -> int:
    """Make the lab, keep it until SIGTERM, and take it down."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    own = asyncio.current_task()

    def tell(**message: object) -> None:
        os.write(reports, json.dumps(message).encode() + b"\n")

    lab_is_up = False

    async def stop_building() -> None:
        await stop.wait()
        if not lab_is_up and own is not None:
            own.cancel()

    watching = asyncio.create_task(stop_building())
    try:
        lab = Lab(places, options)
        async with lab.running(lambda step: tell(step=step)):
            lab_is_up = True
            tell(ready=True)
            os.close(reports)
            if lab.lost is not None:
                # Without its spawner nothing of the lab runs any more.
                lab.lost.add_done_callback(lambda _lost: stop.set())
            await stop.wait()
    except LabError as error:
        tell(error=str(error))
        return 1
    except asyncio.CancelledError:
        return 1  # asked to end while building: what was made is gone
    except Exception:  # a fault of the lab's own: told whole, since the log is gone with the lab
        if lab_is_up:
            raise
        tell(error=f"the lab's daemon failed:\n{traceback.format_exc()}")
        return 1
    finally:
        watching.cancel()
    return 0


def main() -> int:
    """Serve one lab: arguments are its name, the folder of all labs and the descriptor for reports."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    places = Places(name=sys.argv[1], state_root=Path(sys.argv[2]))
    options = LabOptions.from_json(json.load(sys.stdin))
    return asyncio.run(serve(places, options, int(sys.argv[3])))


if __name__ == "__main__":
    sys.exit(main())
