"""All that the checks know: the Node's network stack, its agent, and the way to the API server."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import msgspec

from antrea_proxy.host.facts import NodeFacts
from antrea_proxy.network.values import IPAddress, IPNetwork
from antrea_proxy.settings import Settings, TrafficEncapMode


class _Told(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of what an agent's API told; keys that decide nothing here are passed over."""


class ToldSwitch(_Told, frozen=True, kw_only=True):
    """The agent's switch."""

    connected: bool
    bridge: str
    datapath_type: str
    ovs_version: str


class ToldSource(_Told, frozen=True, kw_only=True):
    """Where one kind of object comes from; `connected_since` is None while there is no connection."""

    kind: str
    connected_since: float | None
    last_error: str


class ToldStatus(_Told, frozen=True, kw_only=True):
    """The agent at a glance. Times are Unix times in seconds."""

    node: str
    phase: str
    problem: str
    pending_since: float | None
    switch: ToldSwitch
    sources: tuple[ToldSource, ...]
    network_problems: tuple[str, ...]
    health_problem: str = ""


class ToldServicePort(_Told, frozen=True, kw_only=True):
    """A port of a Service at one kind of address."""

    kind: str
    protocol: str
    port: int


class ToldService(_Told, frozen=True, kw_only=True):
    """A Service, and what is wrong with it."""

    namespace: str
    name: str
    problems: tuple[str, ...] = ()
    ports: tuple[ToldServicePort, ...] = ()


class ToldNode(_Told, frozen=True, kw_only=True):
    """A Node: `via` is `self` for the agent's own. `tunnel_address` is empty without a tunnel."""

    name: str
    via: str
    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]
    tunnel_address: str

    @property
    def cidrs(self) -> tuple[IPNetwork, ...]:
        """Its podCIDRs."""
        return tuple(map(ip_network, self.pod_cidrs))

    @property
    def transport_addresses(self) -> tuple[IPAddress, ...]:
        """Where its tunnels end, or its own addresses where there are none."""
        ends = self.tunnel_address.split(",") if self.tunnel_address else self.addresses
        return tuple(map(ip_address, ends))


class ToldPod(_Told, frozen=True, kw_only=True):
    """A Pod that is wired here; `interface` is the Node's end of its veth pair."""

    namespace: str
    name: str
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What the agent told of itself; `now` is the Unix time of that."""

    status: ToldStatus
    services: tuple[ToldService, ...] = ()
    nodes: tuple[ToldNode, ...] = ()
    pods: tuple[ToldPod, ...] = ()
    now: float = 0.0

    @property
    def own(self) -> ToldNode | None:
        """The agent's own Node."""
        return next((node for node in self.nodes if node.via == "self"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. `agent` is what it told, or in words why nothing could be asked.

    `api_server` says why the API server cannot be used at the address of the settings; empty where it can, or where
    nobody tried.
    """

    node: NodeFacts
    agent: AgentFacts | str
    settings: Settings = field(default_factory=Settings)
    api_server: str = ""

    @property
    def tunnels(self) -> bool:
        """Whether traffic between Nodes may be encapsulated."""
        return self.settings.traffic_encap_mode is not TrafficEncapMode.NO_ENCAP or self.settings.direct_return
