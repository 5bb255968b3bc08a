"""The functional core: what this Node must balance, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.columns import Condition, SliceEndpoints, address_column, address_text, joined
from antrea_proxy.kubernetes.names import NamespacedName, ServicePortName
from antrea_proxy.proxy.direct_return import node_weights
from antrea_proxy.proxy.endpoints import (
    CANDIDATE,
    OWN_ADDRESS,
    Candidates,
    OwnAddresses,
    Verdict,
    first_that_holds,
    sort_and_judge,
)
from antrea_proxy.proxy.frontends import Rules, Scope
from antrea_proxy.proxy.problems import Problem, Reason
from antrea_proxy.proxy.service_ports import USUAL, ServicePort, ServicePorts, service_ports
from antrea_proxy.proxy.topology import Place, reach_of


class LoadBalancerName(NamedTuple):
    """A Service port in one IP family (4 or 6), with the endpoints of one scope."""

    port: ServicePortName
    family: int
    scope: Scope = Scope.CLUSTER

    def __str__(self) -> str:
        return f"{self.port}/IPv{self.family}{'/local' if self.scope is Scope.LOCAL else ''}"


class Outcome(IntEnum):
    """What happens to a new connection."""

    BALANCED = 0
    REFUSED = 1
    """No usable endpoint: the client is told at once."""
    DROPPED = 2
    """The traffic policy is Local, no endpoint is on this Node, but the cluster has one (KEP 2086)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointReport:
    """An endpoint of a load balancer, with the reason why it is in or out.

    A Node or target that is not known is empty.
    """

    address: str
    port: int
    node: str
    target: str
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadBalancers:
    """Load balancers of some Services, as columns; the row of each is its place in `ports`, and in `names`.

    A ServicePort has a row for each scope that one of its addresses needs.

    `services` are all that were asked for: one that has no row is to be balanced no more. Of the rows in `candidates`,
    those of load balancer i are candidates[starts[i]:starts[i + 1]], in the order of their addresses. `direct` has, for
    rows of this Node's endpoints to which others send connections untranslated, the weight of every Node by name;
    `node` is this one's, and `places` are those of all Nodes in the order of their names.
    """

    services: Mapping[NamespacedName, ServicePorts]
    ports: Sequence[ServicePort]
    names: Sequence[LoadBalancerName]
    outcomes: NDArray[np.uint8]
    candidates: Candidates
    starts: NDArray[np.int64]
    sources: Sequence[SliceEndpoints]
    node_names: Sequence[str]
    node: str
    direct: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ports)

    def __iter__(self) -> Iterator[LoadBalancer]:
        return (LoadBalancer(self, index) for index in range(len(self.ports)))

    def used(self) -> tuple[Candidates, NDArray[np.int64]]:
        """The endpoints in use of all rows, and where those of each row start (one more entry than rows)."""
        used = self.candidates[self.candidates["verdict"] <= Verdict.TERMINATING_BUT_SERVING]
        counts = np.bincount(used["load_balancer"], minlength=len(self.ports))
        return used, np.concatenate(([0], np.cumsum(counts)))

    def going_on(self, row: int) -> Candidates:
        """The endpoints of a row to which connections go on: all that are ready or serving, in use or not (KEP 1669).

        One on another Node is among them, whatever the row's scope.
        """
        found = self.candidates[self.starts[row] : self.starts[row + 1]]
        able = (found["conditions"] & (Condition.READY | Condition.SERVING)) != 0
        possible = (found["verdict"] != Verdict.UNREADABLE) & (found["verdict"] != Verdict.OWN_ADDRESS)
        going_on: Candidates = found[able & possible]
        return going_on


class LoadBalancer:
    """One row of LoadBalancers, read when asked."""

    __slots__ = ("_index", "_table")

    def __init__(self, table: LoadBalancers, index: int) -> None:
        self._table = table
        self._index = index

    @property
    def port(self) -> ServicePort:
        """Where clients connect to."""
        return self._table.ports[self._index]

    @property
    def name(self) -> LoadBalancerName:
        """Whose load balancer it is."""
        return self._table.names[self._index]

    @property
    def scope(self) -> Scope:
        """Whose endpoints it uses."""
        return self.name.scope

    @property
    def direct_return(self) -> bool:
        """Whether clients outside reach its direct addresses untranslated: their row is that of the local endpoints."""
        return self._index + 1 in self._table.direct

    @property
    def outcome(self) -> Outcome:
        """What happens to a new connection."""
        return Outcome(int(self._table.outcomes[self._index]))

    @property
    def endpoints(self) -> tuple[EndpointReport, ...]:
        """All endpoints of the Service port, those out of use, too, each with its reason."""
        return tuple(self._report(row) for row in self._rows())

    @property
    def used_count(self) -> int:
        """How many endpoints connections go to."""
        return int(np.count_nonzero(self._rows()["verdict"] <= Verdict.TERMINATING_BUT_SERVING))

    def _rows(self) -> Candidates:
        return self._table.candidates[self._table.starts[self._index] : self._table.starts[self._index + 1]]

    def _report(self, row: np.void) -> EndpointReport:
        node, source = int(row["node"]), self._table.sources[int(row["source"])]
        return EndpointReport(
            address=address_text(row["address"].tobytes()),
            port=int(row["port"]),
            node=self._table.node_names[node] if node >= 0 else "",
            target=source.targets[int(row["row"])],
            verdict=Verdict(int(row["verdict"])),
        )


def desired_load_balancers(
    cluster: ClusterState, names: Iterable[NamespacedName], *, node_name: str, rules: Rules = USUAL
) -> LoadBalancers:
    """Decide what the Node `node_name` balances for the Services `names`; a name without a Service has no row."""
    services = {name: service_ports(name, cluster, rules) for name in names}
    rows = [(port, scope) for item in services.values() for port in item.ports for scope in sorted(port.scopes)]
    ports = [port for port, _ in rows]
    load_balancers = [LoadBalancerName(port.name, port.family, scope) for port, scope in rows]
    candidates, sources = _gather(cluster, ports)
    local_only = np.array([scope is Scope.LOCAL for _, scope in rows], np.bool_)
    candidates = sort_and_judge(
        candidates,
        this_node=cluster.node_numbers.known(node_name),
        reach=reach_of(cluster.hint_numbers.values, Place(node=node_name, zone=cluster.zone_of(node_name))),
        local_only=local_only,
        own=_own_addresses(ports),
    )
    table = LoadBalancers(
        services=services,
        ports=ports,
        names=load_balancers,
        outcomes=_outcomes(candidates, local_only),
        candidates=candidates,
        starts=np.searchsorted(candidates["load_balancer"], np.arange(len(ports) + 1)),
        sources=sources,
        node_names=cluster.node_numbers.values,
        node=node_name,
    )
    return _with_direct_return(table, cluster) if rules.direct_return else table


def _with_direct_return(table: LoadBalancers, cluster: ClusterState) -> LoadBalancers:
    """Add the Nodes' weights where connections are sent on untranslated, and say where that cannot be."""
    direct: dict[int, Mapping[str, int]] = {}
    services = dict(table.services)
    for row, (port, name) in enumerate(zip(table.ports, table.names, strict=True)):
        if name.scope is Scope.CLUSTER or not any(frontend.direct for frontend in port.frontends):
            continue
        # The row of all endpoints stands before that of the local ones.
        everywhere = table.candidates[table.starts[row - 1] : table.starts[row]]
        weights = node_weights(everywhere, cluster, table.node_names)
        if isinstance(weights, str):
            service = port.name.service
            told = Problem(
                reason=Reason.DIRECT_RETURN_IMPOSSIBLE,
                text=f"Service {service}: load-balancer mode dsr: {weights}; its external addresses are in nat mode",
            )
            known = services[service]
            if told not in known.problems:
                services[service] = msgspec.structs.replace(known, problems=(*known.problems, told))
        else:
            direct[row] = weights
    places = {name: place for place, name in enumerate(sorted(cluster.nodes))}
    return replace(table, services=services, direct=direct, places=places)


def _own_addresses(ports: Sequence[ServicePort]) -> OwnAddresses:
    found = [
        (row, frontend.address, frontend.port)
        for row, port in enumerate(ports)
        for frontend in port.frontends
        if frontend.address is not None
    ]
    own = np.empty(len(found), OWN_ADDRESS)
    own["load_balancer"] = [row for row, _, _ in found]
    own["address"] = address_column(address for _, address, _ in found)
    own["port"] = [port for _, _, port in found]
    return own


def _gather(cluster: ClusterState, ports: Sequence[ServicePort]) -> tuple[Candidates, list[SliceEndpoints]]:
    """Collect the rows of every EndpointSlice that serves one of the ports."""
    sources: list[SliceEndpoints] = []
    owners: list[int] = []
    numbers: list[int] = []
    for index, port in enumerate(ports):
        for item in cluster.slices_of(port.name.service):
            if item.family == port.family:
                number = _port_number(item, port)
                if number:
                    sources.append(item)
                    owners.append(index)
                    numbers.append(number)
    lengths = np.array([len(item.rows) for item in sources], np.int64)
    candidates = np.empty(int(lengths.sum()), CANDIDATE)
    rows = joined(item.rows for item in sources)
    for column in ("address", "conditions", "node", "hints"):
        candidates[column] = rows[column]
    candidates["load_balancer"] = np.repeat(np.array(owners, np.int32), lengths)
    candidates["port"] = np.repeat(np.array(numbers, np.uint16), lengths)
    candidates["source"] = np.repeat(np.arange(len(sources), dtype=np.int32), lengths)
    candidates["row"] = np.arange(len(candidates)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return candidates, sources


def _port_number(item: SliceEndpoints, port: ServicePort) -> int:
    """The number that the slice gives to a Service port; 0, which none may give, if it does not serve it."""
    for candidate in item.ports:
        if (candidate.name or "") == port.name.port and (candidate.protocol or "TCP") == port.protocol.name:
            number = candidate.port or 0
            return number if 0 < number < 1 << 16 else 0
    return 0


def _outcomes(candidates: Candidates, local_only: NDArray[np.bool_]) -> NDArray[np.uint8]:
    count = len(local_only)
    verdicts = candidates["verdict"]
    used = np.bincount(
        candidates["load_balancer"][verdicts <= Verdict.TERMINATING_BUT_SERVING], minlength=count
    ).astype(np.bool_)
    elsewhere = np.bincount(
        candidates["load_balancer"][(verdicts == Verdict.OTHER_NODE) & _could_serve(candidates)], minlength=count
    ).astype(np.bool_)
    return first_that_holds(
        (used, Outcome.BALANCED), (local_only & elsewhere, Outcome.DROPPED), otherwise=Outcome.REFUSED
    )


def _could_serve(candidates: Candidates) -> NDArray[np.bool_]:
    conditions = candidates["conditions"]
    draining = Condition.SERVING | Condition.TERMINATING
    answer: NDArray[np.bool_] = ((conditions & Condition.READY) != 0) | ((conditions & draining) == draining)
    return answer
