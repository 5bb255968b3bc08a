"""What the agent publishes about itself: one frozen value, replaced as a whole after every commit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import IPAddress, Network
from antrea_proxy.pipeline.units import Owner, Unit
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName
from antrea_proxy.proxy.problems import Problem


class Phase(Enum):
    """How far the agent is."""

    STARTING = "starting"
    """Not every kind was listed yet, or the switch was never reached."""
    RUNNING = "running"
    """The switch and the host hold what they should, but for changes of the moment."""
    RETRYING = "retrying"
    """Something failed and is tried again; `problem` says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """One kind of object at its source. Times are Unix times in seconds."""

    kind: str
    synced: bool
    connected_since: float | None = None
    last_error: str = ""
    relists: int = 0


DURATION_BOUNDS: Final = tuple(0.001 * 2**power for power in range(15))
"""Seconds, 1 ms to 16.4 s: kube-proxy's own buckets, so that quantiles of both can be compared."""

PROGRAMMING_BOUNDS: Final = (0.25, 0.5, *map(float, (*range(1, 60), *range(60, 120, 5), *range(120, 301, 30))))
"""Seconds, 0.25 s to 5 min: kube-proxy's buckets of its network programming latency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How often something took how long: `counts` up to each of `bounds`, in seconds, and of what took longer."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_seconds: float = 0.0

    @classmethod
    def none(cls, bounds: tuple[float, ...]) -> Durations:
        """Begin to count."""
        return cls(bounds=bounds, counts=(0,) * (len(bounds) + 1))

    def with_more(self, *seconds: float) -> Durations:
        """Give these and more."""
        counts = list(self.counts)
        for duration in seconds:
            counts[bisect_left(self.bounds, duration)] += 1
        return replace(self, counts=tuple(counts), total_seconds=self.total_seconds + sum(seconds))


_NO_COMMITS: Final = Durations.none(DURATION_BOUNDS)
_NOTHING_PROGRAMMED: Final = Durations.none(PROGRAMMING_BOUNDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesReport:
    """Changed Services and EndpointSlices that were told since the start, the first lists with them.

    `last_at` is the Unix time in seconds of the last change of anything, 0 before the first. `programming` are the
    times from what happened to endpoints, as EndpointSlices tell it, to the switch's word that it holds what follows.
    """

    services: int = 0
    endpoint_slices: int = 0
    last_at: float = 0.0
    programming: Durations = _NOTHING_PROGRAMMED


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchReport:
    """The switch as last seen. Durations are in seconds; `flows` and `groups` are those of ours that it holds."""

    connected: bool = False
    bridge: str = ""
    datapath_type: str = ""
    ovs_version: str = ""
    flows: int = 0
    groups: int = 0
    commits: int = 0
    failed_commits: int = 0
    messages: int = 0
    connection_flushes: int = 0
    resynchronisations: int = 0
    last_commit_seconds: float = 0.0
    commit_durations: Durations = _NO_COMMITS
    last_commit_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """What keeps health checks from being answered: of the proxy itself, and of Services' healthCheckNodePorts."""

    problem: str = ""
    of_services: Mapping[NamespacedName, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """The Node's own network stack: whether a change of what Services ask of it is under way, and what is wrong.

    `taken` are Services' addresses to which somebody else has a route.
    """

    pending: bool = False
    problem: str = ""
    taken: frozenset[IPAddress] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """All that the API, the metrics and the command line can ask.

    `load_balancers` are as decided last, `installed` is what the switch confirmed to hold. `service_problems` are all
    that keeps Services from being served wholly, those of health checks, too.
    `pending_since` is the Unix time of the oldest change that is not in the switch yet, None when there is none.
    """

    node_name: str
    version: str
    started_at: float
    phase: Phase = Phase.STARTING
    problem: str = ""
    sources: tuple[SourceReport, ...] = ()
    switch: SwitchReport = SwitchReport()
    changes: ChangesReport = ChangesReport()
    network: Network | None = None
    network_problems: tuple[str, ...] = ()
    load_balancers: Mapping[LoadBalancerName, LoadBalancer] = field(default_factory=lambda: MappingProxyType({}))
    left_alone: Mapping[NamespacedName, str] = field(default_factory=lambda: MappingProxyType({}))
    service_problems: Mapping[NamespacedName, tuple[Problem, ...]] = field(default_factory=lambda: MappingProxyType({}))
    installed: Mapping[Owner, Unit] = field(default_factory=lambda: MappingProxyType({}))
    pending_since: float | None = None
    health: HealthReport = HealthReport()
    host: HostReport = HostReport()
