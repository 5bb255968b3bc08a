"""What the core has decided, in the words of the oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from antrea_proxy.agent.decisions import Decisions
from antrea_proxy.agent.service_problems import ServiceProblems
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Labels, Node, ObjectMeta
from antrea_proxy.proxy.frontends import Frontend, Rules
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName, LoadBalancers, desired_load_balancers
from antrea_proxy.proxy.selection import ServiceSelection
from antrea_proxy.proxy.service_ports import ServicePort
from properties.service_rules import CLIENTS, INSIDE, OUTSIDE, Answer, Place, Question

_WITHOUT = {"BALANCED": "", "REFUSED": "refused", "DROPPED": "dropped"}


def rules_of(place: Place) -> Rules:
    """The oracle's configuration as the core takes it."""
    names = [NamespacedName.parse(text) for text in place.skipped if "/" in text]
    return Rules(
        selection=ServiceSelection(
            off="the proxy is off" if place.off else "",
            skip_names=frozenset((name.namespace, name.name) for name in names),
            skip_addresses=frozenset(ip_address(text) for text in place.skipped if "/" not in text),
            proxy_name=place.proxy_name,
        ),
        proxy_all=place.proxy_all,
        load_balancer_ips=place.load_balancer_ips,
    )


def node(name: str, zone: str) -> Node:
    """A Node of a zone; an empty one is none."""
    return Node(metadata=ObjectMeta(name=name, labels=Labels(zone=zone)))


def _no_decisions() -> Decisions:
    return Decisions(problems=ServiceProblems(lambda _name, _problems: None))


@dataclass
class Core:
    """A cluster, and what was decided for its Services so far."""

    place: Place
    cluster: ClusterState = field(default_factory=ClusterState)
    decisions: Decisions = field(default_factory=_no_decisions)

    def __post_init__(self) -> None:
        self.cluster.put_node(node(self.place.node, self.place.zone))

    def decide(self, names: Iterable[NamespacedName]) -> tuple[LoadBalancers, set[LoadBalancerName]]:
        """Decide anew for these Services; returns the decisions, and the load balancers that are no more."""
        table = desired_load_balancers(self.cluster, names, node_name=self.place.node, rules=rules_of(self.place))
        return table, self.decisions.take(table, self.cluster)

    def answers(self) -> dict[Question, Answer]:
        """What every address and port answers."""
        found: dict[Question, Answer] = {}
        for load_balancer in self.decisions.load_balancers.values():
            for frontend in load_balancer.port.frontends:
                for where, scope in ((INSIDE, frontend.inside), (OUTSIDE, frontend.outside)):
                    if scope is load_balancer.scope:
                        question = _question(load_balancer.port, frontend, where)
                        assert question not in found
                        found[question] = _answer(load_balancer, frontend)
        return found

    def complaining(self) -> set[str]:
        """The Services of which something is wrong."""
        return set(map(str, self.decisions.problems.by_service))


def _question(port: ServicePort, frontend: Frontend, where: str) -> Question:
    address = f"NodePort/{port.family}" if frontend.address is None else str(frontend.address)
    return Question(address, port.protocol.name, frontend.port, where)


def _answer(load_balancer: LoadBalancer, frontend: Frontend) -> Answer:
    used = frozenset((item.address, item.port) for item in load_balancer.endpoints if item.verdict.used)
    clients = (ip_address(text) for text in CLIENTS)
    ranges = frontend.source_ranges
    let_in = frozenset(
        str(client)
        for client in clients
        if client.version == load_balancer.port.family
        and (ranges is None or any(client in network for network in ranges))
    )
    return Answer(used, _WITHOUT[load_balancer.outcome.name], load_balancer.port.affinity, let_in)
