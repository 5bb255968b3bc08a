"""What was decided last for every Service, as the status shows it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName, LoadBalancers


@dataclass(slots=True)
class Decisions:
    """Load balancers by name, the reasons of Services that are left alone, and what is wrong with Services."""

    load_balancers: dict[LoadBalancerName, LoadBalancer] = field(default_factory=dict)
    left_alone: dict[NamespacedName, str] = field(default_factory=dict)
    problems: dict[NamespacedName, tuple[str, ...]] = field(default_factory=dict)
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
            self.problems.pop(name, None)
            if ports.left_alone:
                self.left_alone[name] = ports.left_alone
                continue
            problems = ports.problems + tuple(text for item in cluster.slices_of(name) for text in item.problems)
            if problems:
                self.problems[name] = problems
        present: dict[NamespacedName, list[LoadBalancerName]] = {}
        for load_balancer in table:
            self.load_balancers[load_balancer.name] = load_balancer
            present.setdefault(load_balancer.name.port.service, []).append(load_balancer.name)
        self._names |= {name: tuple(names) for name, names in present.items()}
        gone -= {name for names in present.values() for name in names}
        for lost in gone:
            del self.load_balancers[lost]
        return gone
