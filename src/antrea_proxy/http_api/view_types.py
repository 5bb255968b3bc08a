"""What the API answers with, as values: JSON objects with the same keys in camelCase.

Imports nothing of the agent, so that a client may use it.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all views."""


class ServicePortView(View, frozen=True, kw_only=True):
    """A Service port at one of its addresses. `family` is 4 or 6, `outcome` is balanced, refused or dropped.

    `kind` is ClusterIP, loadBalancerIP, externalIP or NodePort (whose address is empty: every node-port address).
    `clients` are anywhere, inside (Pods of this Node and the Node itself) or outside; `endpoints` are those of the
    cluster, or local ones alone. `mode` is dsr where clients outside are answered by the endpoint's Node itself, else
    nat, also where dsr was asked for and cannot be. Without `source_ranges` everybody may connect. `affinity_seconds`
    is 0 for none.
    """

    name: str
    family: int
    protocol: str
    kind: str
    address: str
    port: int
    clients: str
    endpoints: str
    outcome: str
    endpoints_in_use: int
    mode: str = "nat"
    affinity_seconds: int = 0
    source_ranges: tuple[str, ...] | None = None


class ServiceView(View, frozen=True, kw_only=True):
    """A Service. `state` is balanced, leftAlone or notServed; `reason` says why it is left alone.

    `flows` and `groups` are those that the switch confirmed to hold for it.
    """

    namespace: str
    name: str
    state: str
    reason: str = ""
    ports: tuple[ServicePortView, ...] = ()
    problems: tuple[str, ...] = ()
    flows: int = 0
    groups: int = 0


class EndpointView(View, frozen=True, kw_only=True):
    """An endpoint of a Service port, and why it is in or out of use."""

    namespace: str
    service: str
    service_port: str
    family: int
    protocol: str
    address: str
    port: int
    node: str
    target: str
    in_use: bool
    reason: str


class FlowView(View, frozen=True, kw_only=True):
    """A flow that the switch confirmed to hold. `owner` says what it is for, such as `service default/web`."""

    table: int
    table_name: str
    priority: int
    match: str
    actions: str
    owner: str
    cookie: str


class BucketView(View, frozen=True, kw_only=True):
    """One choice of a group; `share`, 0 to 1, is its part of the weights."""

    bucket_id: int
    weight: int
    share: float
    actions: str


class GroupView(View, frozen=True, kw_only=True):
    """A group that the switch confirmed to hold."""

    group_id: int
    type: str
    method: str
    owner: str
    buckets: tuple[BucketView, ...]


class NodeView(View, frozen=True, kw_only=True):
    """A Node; `via` is tunnel or route, `self` for the agent's own."""

    name: str
    via: str
    pod_cidrs: tuple[str, ...]
    addresses: tuple[str, ...]
    tunnel_address: str
    problems: tuple[str, ...] = ()


class PodView(View, frozen=True, kw_only=True):
    """A Pod of this Node. `port` is its OpenFlow port, `flows` are those that the switch confirmed to hold for it."""

    namespace: str
    name: str
    ips: tuple[str, ...]
    mac: str
    port: int
    interface: str
    container_id: str
    flows: int


class SourceView(View, frozen=True, kw_only=True):
    """Where one kind of object comes from. Times are Unix times in seconds."""

    kind: str
    synced: bool
    connected_since: float | None
    last_error: str
    relists: int


class SwitchView(View, frozen=True, kw_only=True):
    """The switch as last seen; durations in seconds, times as Unix times."""

    connected: bool
    bridge: str
    datapath_type: str
    ovs_version: str
    flows: int
    groups: int
    commits: int
    failed_commits: int
    messages: int
    connection_flushes: int
    resynchronisations: int
    last_commit_seconds: float
    last_commit_at: float


class HostView(View, frozen=True, kw_only=True):
    """The Node's own network stack: whether a change of what Services ask of it is under way, and what is wrong."""

    pending: bool
    problem: str


class StatusView(View, frozen=True, kw_only=True):
    """The agent at a glance. `phase` is starting, running or retrying; `problem` says what keeps it from running."""

    node: str
    version: str
    started_at: float
    phase: str
    problem: str
    pending_since: float | None
    switch: SwitchView
    sources: tuple[SourceView, ...]
    network_problems: tuple[str, ...]
    health_problem: str
    host: HostView
    services: int
    services_left_alone: int
    services_with_problems: int
    pods: int
    peers: int


class TraceRequest(View, frozen=True, kw_only=True):
    """A connection to trace: from a Pod to an address or a Service, at a port number or name.

    An empty protocol is the Service port's, else TCP. A Service's namespace is `service_namespace`, by default the
    Pod's. `family` 0 takes the first that Pod and Service have in common. `choice`, from 1, stands for the datapath's
    hash: another one may lead to another endpoint.
    """

    namespace: str
    pod: str
    address: str
    port: str
    protocol: str = ""
    service_namespace: str = ""
    family: int = 0
    choice: int = 1


class StageView(View, frozen=True, kw_only=True):
    """One stage of a packet's way, in words."""

    title: str
    text: str


class ChoiceView(View, frozen=True, kw_only=True):
    """An endpoint that a new connection may go to."""

    address: str
    port: int
    share: float
    node: str
    target: str
    followed: bool


class StepView(View, frozen=True, kw_only=True):
    """A table that looked the packet up, the flow that it found (none: an empty owner), and what that did."""

    table: int
    table_name: str
    priority: int
    match: str
    owner: str
    cookie: str
    events: tuple[str, ...]


class TraceView(View, frozen=True, kw_only=True):
    """A packet's way. `verdict` is local, tunnel, gateway, refused or dropped.

    `switch` says whether the switch's own trace was compared: `agrees`, `differs`, or why it could not be asked.
    """

    verdict: str
    service: str
    stages: tuple[StageView, ...]
    choices: tuple[ChoiceView, ...]
    steps: tuple[StepView, ...]
    reply: tuple[StepView, ...]
    recirculations: int
    switch: str
    switch_trace: str
    warnings: tuple[str, ...]


ItemView: TypeAlias = ServiceView | EndpointView | FlowView | GroupView | NodeView | PodView
