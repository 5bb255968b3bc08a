"""The composition root: makes the parts of the agent and ties them together. The only place that sees every room."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from antrea_proxy import __version__
from antrea_proxy.agent.admission import Admission
from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.connection_cleaner import ConnectionCleaner
from antrea_proxy.agent.errors import AgentError, CommitRefused, ForeignBridge
from antrea_proxy.agent.event_recorder import EventRecorder
from antrea_proxy.agent.feed import Feed
from antrea_proxy.agent.health import HealthChecks
from antrea_proxy.agent.node_keeper import NodeKeeper
from antrea_proxy.agent.reconciler import Reconciler, reconnect_delays
from antrea_proxy.agent.reports import Reports
from antrea_proxy.agent.sole import LOCK_NAME, sole_agent
from antrea_proxy.agent.source_reports import SourceReports
from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.agent.switch import OpenFlowSwitch
from antrea_proxy.agent.transport_announcer import announce
from antrea_proxy.cni.errors import CniError, WiringError
from antrea_proxy.cni.ipam import AddressPool
from antrea_proxy.cni.pod_ports import PodPorts, port_kind
from antrea_proxy.cni.pods import PodWiring
from antrea_proxy.cni.server import CniServer, SocketTakenError
from antrea_proxy.cni.state_file import StateFile
from antrea_proxy.cni.wires import PodWires
from antrea_proxy.host.address_watch import AddressWatch
from antrea_proxy.host.errors import HostError
from antrea_proxy.host.host import Host
from antrea_proxy.host.linux import LinuxStack
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.host.pod_links import PodLinks
from antrea_proxy.http_api.board import StatusBoard
from antrea_proxy.http_api.routes import ApiSources
from antrea_proxy.http_api.server import ApiServerError, serving
from antrea_proxy.http_api.service_health import HealthServers, HealthSources
from antrea_proxy.http_api.tracing import SwitchTraceError
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.kinds import KINDS, AnyKind
from antrea_proxy.network.desired import desired_network
from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.values import IPAddress, Network
from antrea_proxy.ovsdb import (
    Database,
    OvsdbError,
    OvsdbUnavailable,
    check_sequences_again,
    control,
    revalidated,
    switch_version,
    tracked_connections,
)
from antrea_proxy.pipeline.capabilities import may_choose_ports, unsupported_protocols
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.pod_flows import pod_owner
from antrea_proxy.pipeline.registers import CONNTRACK_ZONE
from antrea_proxy.pipeline.stale_connections import WITHOUT_AN_END, connections_of
from antrea_proxy.pipeline.switch_trace import trace_arguments
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.health_checks import is_eligible
from antrea_proxy.proxy.selection import ServiceSelection
from antrea_proxy.settings import Settings
from antrea_proxy.sources import (
    AccessError,
    ApiClient,
    ApiServerSource,
    ManifestSource,
    Source,
    cluster_access,
    streaming_lists,
)

_log = structlog.get_logger(__name__)

STARTING_ERRORS: Final = (AgentError, AccessError, OvsdbError, HostError, SocketTakenError, ApiServerError)
"""What `run_agent` and `clean_up` raise."""

LONGEST_START_S: Final = 60.0
"""After so many seconds, garbage is collected although the switch was never reached."""

FIRST_CONNECT_S: Final = 1.0
"""How long a database that is there takes to connect to, at most."""

REVALIDATION_S: Final = 1.0
"""Twice the time between two rounds in which Open vSwitch compares the datapath's flows with its tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How the agent was started: its configuration, which Node it is, and where it learns of the cluster."""

    settings: Settings
    node_name: str
    kubeconfig: Path | None = None
    manifests: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    take_over: bool = False
    pod_ports: PodPorts = PodPorts.AF_PACKET

    @property
    def run_dir(self) -> Path:
        """Where sockets and the state of Pods are: beside the CNI socket."""
        return Path(self.settings.cni_socket).parent


class Agent:
    """One Node's agent, its parts made and joined."""

    def __init__(self, options: AgentOptions, database: Database, client: ApiClient | None, ovs_version: str) -> None:
        settings = options.settings
        self._options = options
        self._client = client
        self._cluster = ClusterState(triggers_after=time.time())
        self._feed = Feed(self._cluster)
        self._pods: dict[str, PodInterface] = {}
        self._network: Network | None = None
        self._events = EventRecorder(node=options.node_name, service=self._cluster.services.get)
        status = AgentStatus(node_name=options.node_name, version=__version__, started_at=time.time())
        self._board = StatusBoard(status)
        self._reports = Reports(
            status,
            publish=self._published,
            claimants=self._cluster.claimants,
            problems_changed=self._events.consider,
        )
        netlink = Netlink()
        host = Host(netlink, Nft())
        self._keeper = NodeKeeper(
            settings=settings,
            database=database,
            stack=LinuxStack(host),
            netlink=netlink,
            addresses=AddressWatch(),
            changed=self._node_changed,
            report=self._reports.show_host,
        )
        self._pool = AddressPool(StateFile(options.run_dir / "pods" / "addresses.json"))
        self._wiring = PodWiring(
            wires=PodWires(
                switch=database,
                links=PodLinks(),
                shield=_Shield(host, self._keeper),
                bridge=settings.ovs_bridge,
                checksum_offload=False,
                new_port=lambda: port_kind(options.pod_ports, self._keeper.datapath_type),
            ),
            pool=self._pool,
            mtu=lambda: self._network.mtu if self._network else 0,
            wired=self._pod_wired,
            unwired=self._pod_unwired,
            ready=self._why_not_ready,
        )
        self._ovs_version = ovs_version
        self._switch = OpenFlowSwitch(Path(settings.ovs_run_dir) / f"{settings.ovs_bridge}.mgmt")
        self._cleaner = ConnectionCleaner(
            protocols=WITHOUT_AN_END if settings.feature_gates.enabled("CleanupStaleUDPSvcConntrack") else (),
            flush=self._switch.flush,
            dump=lambda: tracked_connections(settings.ovs_run_dir, self._keeper.datapath_type, CONNTRACK_ZONE),
            followed=self._datapath_followed,
            asked=self._reports.count_flushes,
        )
        self._resynchronisations = 0
        self._reconciler: Reconciler
        self._health: tuple[HealthChecks, HealthServers] | None = None

    async def prepare(self) -> None:
        """Make the bridge and take up the Pods that are wired already.

        Raises OvsdbError, HostError, SwitchLost, or ForeignBridge before anything is changed.
        """
        options = self._options
        settings = options.settings
        admission = Admission(settings, self._keeper, self._switch, take_over=options.take_over)
        await admission.inspect()
        await self._keeper.prepare()
        kind_of_switch = {"datapath_type": self._keeper.datapath_type, "ovs_version": self._ovs_version}
        self._reports.describe_switch(bridge=settings.ovs_bridge, **kind_of_switch)
        self._reconciler = Reconciler(
            cluster=self._cluster,
            node_name=options.node_name,
            reports=self._reports,
            switch=self._switch,
            network=self._compute_network,
            admit=admission.admit,
            cleaner=self._cleaner,
            serve=self._keeper.want_services,
            rules=Rules.of(settings, unsupported=unsupported_protocols(**kind_of_switch)),
            chooses_ports=may_choose_ports(**kind_of_switch),
        )
        if settings.antrea_proxy.proxy_all and not settings.antrea_proxy.disable_service_health_check_server:
            self._health = self._health_of_services()
        restored = await self._wiring.restore()
        for problem in (*restored.problems, *restored.removed):
            _log.warning("a Pod's wiring was left over", detail=problem)
        self._pods = {pod.host_interface: pod for pod in restored.pods}

    async def run(self) -> None:
        """Serve until cancelled. Raises ForeignBridge."""
        settings = self._options.settings
        api = ApiSources(
            status=lambda: self._board.status,
            changed=self._board.changed,
            settings=settings,
            trace_in_switch=self._trace_in_switch,
        )
        async with (
            serving(api, self._options.run_dir),
            CniServer(Path(settings.cni_socket), self._wiring),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._start_without_garbage_collection(), name="garbage collection")
            tasks.create_task(self._reconciler.run(), name="reconciler")
            tasks.create_task(self._cleaner.run(), name="stale connections")
            tasks.create_task(self._keeper.run(), name="node")
            for part in self._health or ():
                tasks.create_task(part.run(), name="health checks")
            source = self._source()
            for kind in KINDS:
                tasks.create_task(self._follow(source, kind), name=f"source of {kind}")
            if self._client is not None:
                tasks.create_task(self._events.run(self._client), name="Events")
            if self._client is not None and settings.transport_interface:
                announcing = announce(self._client, self._options.node_name, self._transport_addresses)
                tasks.create_task(announcing, name="transport addresses")

    def _health_of_services(self) -> tuple[HealthChecks, HealthServers]:
        node_name, settings = self._options.node_name, self._options.settings
        servers = HealthServers(
            HealthSources(
                status=lambda: self._board.status,
                eligible=lambda: is_eligible(self._cluster.nodes.get(node_name)),
                report=self._reports.show_health,
                delays=lambda: Backoff(first=1.0),
            ),
            settings.antrea_proxy,
        )
        checks = HealthChecks(
            cluster=self._cluster,
            node_name=node_name,
            selection=ServiceSelection.of(settings),
            settled=self._reconciler.settled,
            publish=servers.want,
        )
        return checks, servers

    def _source(self) -> Source:
        reports = SourceReports(self._reports.show_sources)
        if self._options.manifests is not None:
            return ManifestSource(directory=self._options.manifests, on_status=reports.changed)
        assert self._client is not None  # noqa: S101 - main gives one or the other
        return ApiServerSource(
            client=self._client, on_status=reports.changed, streaming_lists=streaming_lists(self._options.environment)
        )

    async def _follow(self, source: Source, kind: AnyKind) -> None:
        async for events in source.watch(kind):
            dirty = self._feed.apply(events)
            self._reconciler.mark(dirty)
            if self._health is not None:
                self._health[0].mark(dirty)
            del events  # a whole cluster's objects, which are columns by now
            if self._feed.complete:
                self._reconciler.begin()

    def _compute_network(self, cluster: ClusterState) -> Network | str:
        network = desired_network(
            cluster.nodes.values(),
            self._options.node_name,
            self._options.settings,
            self._keeper.uplinks,
            self._pods.values(),
        )
        return network if isinstance(network, Network) else str(network)

    async def _trace_in_switch(self, packet: Packet) -> str:
        settings = self._options.settings
        try:
            return await control(settings.ovs_run_dir, *trace_arguments(settings.ovs_bridge, packet))
        except OvsdbError as error:
            raise SwitchTraceError(str(error)) from error

    async def _datapath_followed(self) -> None:
        """Wait until the datapath's flows have been compared with the flow tables once."""
        try:
            await revalidated(self._options.settings.ovs_run_dir)
        except OvsdbError:  # a switch with datapaths of both types does not tell
            await asyncio.sleep(REVALIDATION_S)

    def _published(self, status: AgentStatus) -> None:
        self._board.publish(status)
        if status.switch.resynchronisations != self._resynchronisations:
            self._resynchronisations = status.switch.resynchronisations
            self._keeper.switch_restored()
        if status.network is not None and status.network is not self._network:
            self._network = status.network
            self._keeper.want(status.network)
            self._pool.set_cidrs(status.network.pod_cidrs)

    async def _start_without_garbage_collection(self) -> None:
        """Collect no garbage before the first synchronisation: what the first lists become stays, and holds no cycles.

        Looking through it again and again took a quarter of the start of 10,000 Services.
        """
        gc.disable()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_START_S):
                while not self._reconciler.synchronised:
                    await self._board.changed()
        gc.freeze()
        gc.enable()

    def _node_changed(self) -> None:
        self._reconciler.mark_network()

    async def _pod_wired(self, pod: PodInterface) -> None:
        self._pods[pod.host_interface] = pod
        self._reconciler.mark_network()
        await self._reconciler.settled()
        try:
            self._reconciler.raise_failure(pod_owner(pod))
        except CommitRefused as error:
            raise WiringError(f"the switch refused the flows of Pod {pod.namespace}/{pod.name}: {error}") from error

    async def _pod_unwired(self, pod: PodInterface) -> None:
        """Take a Pod's flows away, and what is tracked of its addresses: the next Pod that has them starts afresh."""
        if self._pods.pop(pod.host_interface, None) is not None:
            self._reconciler.mark_network()
            await self._reconciler.settled()
            try:
                for address in pod.addresses:
                    await self._switch.flush(connections_of(address))
            except AgentError as error:
                _log.warning("connections of a Pod that is gone stay tracked", pod=pod.name, error=str(error))

    def _transport_addresses(self) -> Sequence[IPAddress] | None:
        return None if self._network is None else self._network.transport_addresses

    def _why_not_ready(self) -> str | None:
        if not self._reconciler.synchronised:
            problem = self._board.status.problem or "; ".join(self._board.status.network_problems)
            return f"the switch does not hold all flows yet{f': {problem}' if problem else ''}"
        return self._keeper.problem or None


class _Shield:
    """Hides a Pod's port from the Node's kernel where the userspace datapath reads it."""

    def __init__(self, host: Host, keeper: NodeKeeper) -> None:
        self._host = host
        self._keeper = keeper

    async def shield_port(self, name: str) -> None:
        if self._keeper.datapath_type == "netdev":
            await self._host.shield_port(name)

    async def unshield_port(self, name: str) -> None:
        if self._keeper.datapath_type == "netdev":
            await self._host.unshield_port(name)


async def run_agent(options: AgentOptions) -> None:
    """Run the agent of one Node until it is cancelled.

    Raises ForeignBridge for a bridge that is somebody else's, AccessError for a kubeconfig that cannot be used,
    AnotherAgent where one runs already, RunDirectoryUnusable.
    """
    if options.settings.not_used:
        _log.info("keys of antrea-agent.conf that decide nothing here", keys=", ".join(options.settings.not_used))
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(sole_agent(options.run_dir))
        client = None
        if options.manifests is None:
            access = cluster_access(options.kubeconfig, options.environment)
            override = options.settings.kube_api_server_override
            client = await stack.enter_async_context(ApiClient(access, server_override=override))
        database = Database(_database_socket(options.settings))
        stack.push_async_callback(database.close)
        with contextlib.suppress(TimeoutError, OvsdbUnavailable):
            async with asyncio.timeout(FIRST_CONNECT_S):  # what is not there by then, `_prepared` waits for
                await database.connect()
        agent = await _prepared(options, database, client)
        await agent.run()


async def clean_up(settings: Settings) -> None:
    """Remove all that an agent put on this Node.

    Raises OvsdbError, HostError, ForeignBridge, or AnotherAgent while the agent runs.
    """
    run_dir = Path(settings.cni_socket).parent
    with sole_agent(run_dir):
        async with Database(_database_socket(settings)) as database:
            netlink = Netlink()
            keeper = NodeKeeper(
                settings=settings,
                database=database,
                stack=LinuxStack(Host(netlink, Nft())),
                netlink=netlink,
                addresses=AddressWatch(),
                changed=lambda: None,
            )
            bridge = await database.bridge(settings.ovs_bridge)
            await keeper.cleanup()
            if bridge is not None and bridge.datapath_type == "netdev":
                await check_sequences_again(settings.ovs_run_dir)
        (run_dir / LOCK_NAME).unlink()


def _database_socket(settings: Settings) -> Path:
    return Path(settings.ovs_run_dir) / "db.sock"


async def _prepared(options: AgentOptions, database: Database, client: ApiClient | None) -> Agent:
    """Prepare until it succeeds: the switch may be started after the agent.

    Raises ForeignBridge: waiting does not help there.
    """
    backoff = reconnect_delays()
    told = ""
    while True:
        try:
            agent = Agent(options, database, client, await switch_version(options.settings.ovs_run_dir))
            await agent.prepare()
        except ForeignBridge:
            raise
        except (OvsdbError, HostError, AgentError, CniError) as error:
            delay = backoff.next_delay()
            if str(error) != told:
                told = str(error)
                _log.warning("the Node cannot be prepared", error=told, retry_in_seconds=round(delay, 2))
            await asyncio.sleep(delay)
        else:
            return agent
