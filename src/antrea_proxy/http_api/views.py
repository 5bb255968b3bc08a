"""From the agent's status to views, one item at a time, so that long lists can be written as they are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.http_api.view_types import (
    EndpointView,
    HostView,
    NodeView,
    PodView,
    ServicePortView,
    ServiceView,
    SourceView,
    StatusView,
    SwitchView,
)
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.pipeline.pod_flows import pod_owner
from antrea_proxy.pipeline.service_flows import service_owner
from antrea_proxy.pipeline.units import EMPTY
from antrea_proxy.proxy.frontends import FrontendKind, Scope
from antrea_proxy.proxy.load_balancers import LoadBalancer
from antrea_proxy.settings import LoadBalancerMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which items are asked for; what is empty selects all."""

    namespace: str = ""
    name: str = ""

    def takes(self, namespace: str, name: str) -> bool:
        """Whether an item of this namespace and name is asked for."""
        return self.namespace in {"", namespace} and self.name in {"", name}


def status_view(status: AgentStatus) -> StatusView:
    """Show the agent at a glance."""
    switch, network = status.switch, status.network
    return StatusView(
        node=status.node_name,
        version=status.version,
        started_at=status.started_at,
        phase=status.phase.value,
        problem=status.problem,
        pending_since=status.pending_since,
        switch=SwitchView(
            connected=switch.connected,
            bridge=switch.bridge,
            datapath_type=switch.datapath_type,
            ovs_version=switch.ovs_version,
            flows=switch.flows,
            groups=switch.groups,
            commits=switch.commits,
            failed_commits=switch.failed_commits,
            messages=switch.messages,
            connection_flushes=switch.connection_flushes,
            resynchronisations=switch.resynchronisations,
            last_commit_seconds=switch.last_commit_seconds,
            last_commit_at=switch.last_commit_at,
        ),
        sources=tuple(
            SourceView(
                kind=item.kind,
                synced=item.synced,
                connected_since=item.connected_since,
                last_error=item.last_error,
                relists=item.relists,
            )
            for item in status.sources
        ),
        network_problems=status.network_problems + (tuple(map(str, network.problems)) if network is not None else ()),
        services=len({name.port.service for name in status.load_balancers}),
        services_left_alone=len(status.left_alone),
        services_with_problems=len(status.service_problems),
        health_problem=status.health.problem,
        host=HostView(pending=status.host.pending, problem=status.host.problem),
        pods=0 if network is None else len(network.pods),
        peers=0 if network is None else len(network.peers),
    )


def service_views(status: AgentStatus, selection: Selection) -> Iterator[ServiceView]:
    """Show Services by namespace and name: balanced, left alone, or such that they cannot be served."""
    balanced: dict[NamespacedName, list[LoadBalancer]] = {}
    for key, load_balancer in status.load_balancers.items():
        if selection.takes(*key.port.service):
            balanced.setdefault(key.port.service, []).append(load_balancer)
    others = (name for name in (*status.left_alone, *status.service_problems) if selection.takes(*name))
    for name in sorted({*balanced, *others}):
        unit = status.installed.get(service_owner(name), EMPTY)
        ports = tuple(view for item in balanced.get(name, ()) for view in _service_ports(item))
        reason = status.left_alone.get(name, "")
        yield ServiceView(
            namespace=name.namespace,
            name=name.name,
            state="balanced" if ports else "leftAlone" if reason else "notServed",
            reason=reason,
            ports=ports,
            problems=tuple(map(str, status.service_problems.get(name, ()))),
            flows=len(unit.flows),
            groups=len(unit.groups),
        )


def endpoint_views(status: AgentStatus, selection: Selection) -> Iterator[EndpointView]:
    """Show the endpoints of every Service port, in use or not, with the reason; `selection` is of Services."""
    chosen = sorted(key for key in status.load_balancers if selection.takes(*key.port.service))
    for key in chosen:
        load_balancer = status.load_balancers.get(key)
        if load_balancer is None:
            continue
        protocol = load_balancer.port.protocol.name
        for item in load_balancer.endpoints:
            yield EndpointView(
                namespace=key.port.service.namespace,
                service=key.port.service.name,
                service_port=key.port.port,
                family=key.family,
                protocol=protocol,
                address=item.address,
                port=item.port,
                node=item.node,
                target=item.target,
                in_use=item.verdict.used,
                reason=item.verdict.explanation,
            )


def node_views(status: AgentStatus, selection: Selection) -> Iterator[NodeView]:
    """Show this Node and its peers by name. Nodes have no namespace."""
    network = status.network
    if network is None:
        return
    views = [
        NodeView(
            name=network.node_name,
            via="self",
            pod_cidrs=tuple(map(str, network.pod_cidrs)),
            addresses=tuple(map(str, network.node_addresses)),
            tunnel_address="" if network.tunnel is None else ",".join(map(str, network.transport_addresses)),
            problems=status.network_problems,
        )
    ]
    views += [
        NodeView(
            name=peer.name,
            via=peer.via.value,
            pod_cidrs=tuple(map(str, peer.pod_cidrs)),
            addresses=tuple(map(str, peer.node_addresses)),
            tunnel_address="" if peer.tunnel_address is None else str(peer.tunnel_address),
            problems=tuple(str(problem) for problem in network.problems if problem.node == peer.name),
        )
        for peer in network.peers
    ]
    known = {view.name for view in views}
    left_out: dict[str, list[str]] = {}
    for problem in network.problems:
        if problem.node not in known:
            left_out.setdefault(problem.node, []).append(str(problem))
    views += [
        NodeView(name=name, via="leftOut", pod_cidrs=(), addresses=(), tunnel_address="", problems=tuple(problems))
        for name, problems in left_out.items()
    ]
    yield from (view for view in sorted(views, key=lambda view: view.name) if selection.name in {"", view.name})


def pod_views(status: AgentStatus, selection: Selection) -> Iterator[PodView]:
    """Show the Pods of this Node that are wired to its switch, by namespace and name."""
    pods = () if status.network is None else status.network.pods
    for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name, pod.interface)):
        if selection.takes(pod.namespace, pod.name):
            yield PodView(
                namespace=pod.namespace,
                name=pod.name,
                ips=tuple(map(str, pod.addresses)),
                mac=pod.mac,
                port=pod.ofport,
                interface=pod.host_interface,
                container_id=pod.container_id,
                flows=len(status.installed.get(pod_owner(pod), EMPTY).flows),
            )


_KINDS: Final = {
    FrontendKind.CLUSTER_IP: "ClusterIP",
    FrontendKind.LOAD_BALANCER_IP: "loadBalancerIP",
    FrontendKind.EXTERNAL_IP: "externalIP",
    FrontendKind.NODE_PORT: "NodePort",
}


def _service_ports(load_balancer: LoadBalancer) -> Iterator[ServicePortView]:
    """A load balancer at each address that leads to it."""
    port, scope = load_balancer.port, load_balancer.scope
    outcome, in_use = load_balancer.outcome.name.lower(), load_balancer.used_count
    for frontend in port.frontends:
        # The local endpoints of a direct address are for what other Nodes send on: its clients reach all endpoints.
        scopes = frontend.scopes - {Scope.LOCAL} if frontend.direct else frontend.scopes
        if scope not in scopes:
            continue
        everybody = len(scopes) == 1 and frontend.outside is not None
        mode = LoadBalancerMode.DSR if frontend.direct and load_balancer.direct_return else LoadBalancerMode.NAT
        ranges = frontend.source_ranges
        yield ServicePortView(
            name=port.name.port,
            family=port.family,
            protocol=port.protocol.name,
            kind=_KINDS[frontend.kind],
            address="" if frontend.address is None else str(frontend.address),
            port=frontend.port,
            clients="anywhere" if everybody else "inside" if frontend.inside is scope else "outside",
            endpoints=scope.name.lower(),
            outcome=outcome,
            endpoints_in_use=in_use,
            mode=mode.value,
            affinity_seconds=port.affinity,
            source_ranges=None if ranges is None else tuple(map(str, ranges)),
        )
