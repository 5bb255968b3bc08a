"""What was decided last for every Service, as the status shows it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from antrea_proxy.agent.service_problems import Finder, ServiceProblems
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName, LoadBalancers
from antrea_proxy.proxy.problems import Problem, Reason


@dataclass(slots=True, kw_only=True)
class Decisions:
    """Load balancers by name, and the reasons of Services that are left alone; `problems` gets what is wrong.

    `affinities` are the time-outs in seconds of the load balancers with session affinity, `direct` the Services in DSR
    mode: what they are depends on Nodes, too.
    """

    problems: ServiceProblems
    load_balancers: dict[LoadBalancerName, LoadBalancer] = field(default_factory=dict)
    left_alone: dict[NamespacedName, str] = field(default_factory=dict)
    affinities: dict[LoadBalancerName, int] = field(default_factory=dict)
    direct: set[NamespacedName] = field(default_factory=set)
    _names: dict[NamespacedName, tuple[LoadBalancerName, ...]] = field(default_factory=dict)

    @property
    def balanced(self) -> AbstractSet[NamespacedName]:
        """The Services that have a load balancer."""
        return self._names.keys()

    def take(self, table: LoadBalancers, cluster: ClusterState) -> set[LoadBalancerName]:
        """Note new decisions; return the load balancers that are no more."""
        gone: set[LoadBalancerName] = set()
        for name, ports in table.services.items():
            gone.update(self._names.pop(name, ()))
            self.left_alone.pop(name, None)
            asks = any(frontend.direct for port in ports.ports for frontend in port.frontends)
            (self.direct.add if asks else self.direct.discard)(name)
            problems: tuple[Problem, ...] = ()
            if ports.left_alone:
                self.left_alone[name] = ports.left_alone
            elif name in cluster.services:
                problems = ports.problems + tuple(
                    Problem(reason=Reason.INVALID_ENDPOINT_SLICE, text=text)
                    for item in cluster.slices_of(name)
                    for text in item.problems
                )
            self.problems.found(Finder.RULES, name, problems)
        present: dict[NamespacedName, list[LoadBalancerName]] = {}
        for load_balancer in table:
            key = load_balancer.name
            self.load_balancers[key] = load_balancer
            present.setdefault(key.port.service, []).append(key)
            if load_balancer.port.affinity:
                self.affinities[key] = load_balancer.port.affinity
            else:
                self.affinities.pop(key, None)
        self._names |= {service: tuple(names) for service, names in present.items()}
        gone -= {name for names in present.values() for name in names}
        for lost in gone:
            del self.load_balancers[lost]
            self.affinities.pop(lost, None)
        return gone
