"""The status as Prometheus metrics, counted when they are asked for.

Names that AntreaProxy has keep their meaning, with one difference: "installed" is what the switch confirmed.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from antrea_proxy.agent.status import AgentStatus, Durations, Phase
from antrea_proxy.http_api.installed import InstalledCounts
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.proxy.load_balancers import Outcome
from antrea_proxy.proxy.problems import Problem, Reason

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format, version 0.0.4."""

Family = GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily | InfoMetricFamily


class StatusCollector(Collector):
    """Counts what a status holds."""

    def __init__(self, status: Callable[[], AgentStatus]) -> None:
        self._status = status
        self._counts = InstalledCounts()

    def collect(self) -> Iterator[Family]:
        """Yield every metric of the status of this moment."""
        status = self._status()
        yield from self._installed(status)
        yield from _agent(status)
        yield from _services(status)
        yield from _switch(status)
        yield from _as_others_call_it(status)
        yield from _sources(status)

    def _installed(self, status: AgentStatus) -> Iterator[Family]:
        counts = self._counts.count(dict(status.installed))
        services = GaugeMetricFamily(
            "antrea_proxy_total_services_installed",
            "Service ports that the switch confirmed to hold, by IP family (also in AntreaProxy).",
            labels=["ip_family"],
        )
        endpoints = GaugeMetricFamily(
            "antrea_proxy_total_endpoints_installed",
            "Endpoints that the switch confirmed to hold, once for every Service port (also in AntreaProxy).",
            labels=["ip_family"],
        )
        for family, count in counts.items():
            services.add_metric([f"v{family}"], count.services)
            endpoints.add_metric([f"v{family}"], count.endpoints)
        yield services
        yield endpoints
        flows = dict.fromkeys(Table, 0)
        for unit in dict(status.installed).values():
            for entry in unit.flows:
                flows[Table(entry.key[0])] += 1
        by_table = GaugeMetricFamily(
            "antrea_agent_ovs_flow_count",
            "Flows that the switch confirmed to hold, by table (also in Antrea).",
            labels=["table_id", "table_name"],
        )
        for table, number in flows.items():
            by_table.add_metric([str(table.value), table.title], number)
        yield by_table
        yield GaugeMetricFamily(
            "antrea_agent_ovs_total_flow_count",
            "Flows that the switch confirmed to hold (also in Antrea).",
            value=sum(flows.values()),
        )


def exposition(status: Callable[[], AgentStatus]) -> Callable[[], bytes]:
    """Make a function that returns the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return lambda: generate_latest(registry)


def _agent(status: AgentStatus) -> Iterator[Family]:
    info = InfoMetricFamily("antrea_proxy_build", "The agent's version and its Node.")
    info.add_metric([], {"version": status.version, "node": status.node_name})
    yield info
    yield GaugeMetricFamily(
        "antrea_proxy_start_time_seconds", "When the agent started, in Unix time.", value=status.started_at
    )
    phase = GaugeMetricFamily(
        "antrea_proxy_phase", "1 for the phase that the agent is in, 0 for the others.", labels=["phase"]
    )
    for one in Phase:
        phase.add_metric([one.value], float(one is status.phase))
    yield phase
    yield GaugeMetricFamily(
        "antrea_proxy_pending_since_seconds",
        "Unix time of the oldest change that is not in the switch yet; 0 when there is none.",
        value=status.pending_since or 0.0,
    )
    network = status.network
    yield GaugeMetricFamily(
        "antrea_agent_local_pod_count",
        "Pods that are wired to this Node's switch (also in Antrea).",
        value=0 if network is None else len({(pod.namespace, pod.name) for pod in network.pods}),
    )
    yield GaugeMetricFamily(
        "antrea_proxy_peers", "Other Nodes whose Pods are reached.", value=0 if network is None else len(network.peers)
    )


def _services(status: AgentStatus) -> Iterator[Family]:
    ports = GaugeMetricFamily(
        "antrea_proxy_service_ports",
        "Service ports as decided, by what happens to a new connection.",
        labels=["ip_family", "outcome"],
    )
    numbers = {(family, outcome): 0 for family in (4, 6) for outcome in Outcome}
    for name, load_balancer in list(status.load_balancers.items()):
        numbers[name.family, load_balancer.outcome] += 1
    for (family, outcome), number in numbers.items():
        ports.add_metric([f"v{family}", outcome.name.lower()], number)
    yield ports
    yield GaugeMetricFamily(
        "antrea_proxy_services_left_alone", "Services that are not this proxy's.", value=len(status.left_alone)
    )
    yield GaugeMetricFamily(
        "antrea_proxy_services_with_problems",
        "Services of which something cannot be served; `antrea-proxy get services -o wide` says what.",
        value=len(status.service_problems),
    )
    by_reason = GaugeMetricFamily(
        "antrea_proxy_service_problems",
        "Services with a problem of this kind; a Service counts once for each kind.",
        labels=["reason"],
    )
    counts = Counter(reason for problems in list(status.service_problems.values()) for reason in _reasons(problems))
    for reason in Reason:
        by_reason.add_metric([reason.value], counts[reason])
    yield by_reason


def _reasons(problems: Iterable[Problem]) -> frozenset[Reason]:
    return frozenset(problem.reason for problem in problems)


def _switch(status: AgentStatus) -> Iterator[Family]:
    switch = status.switch
    yield GaugeMetricFamily(
        "antrea_proxy_switch_connected", "Whether the switch answers: 1 or 0.", value=float(switch.connected)
    )
    info = InfoMetricFamily("antrea_proxy_switch", "The bridge, its datapath, and the version of Open vSwitch.")
    info.add_metric(
        [], {"bridge": switch.bridge, "datapath_type": switch.datapath_type, "ovs_version": switch.ovs_version}
    )
    yield info
    counters = {
        "commits": ("Bundles that the switch took.", switch.commits),
        "failed_commits": ("Bundles that the switch refused, or whose outcome is not known.", switch.failed_commits),
        "messages": ("Flow and group changes in the bundles that the switch took.", switch.messages),
        "connection_flushes": (
            "Messages that asked the switch to forget stale connections.",
            switch.connection_flushes,
        ),
        "resynchronisations": ("How often the switch was read back and set right.", switch.resynchronisations),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"antrea_proxy_switch_{name}", text, value=value)
    yield GaugeMetricFamily(
        "antrea_proxy_switch_last_commit_seconds", "How long the last bundle took.", value=switch.last_commit_seconds
    )
    yield GaugeMetricFamily(
        "antrea_proxy_switch_last_commit_time_seconds",
        "When the last bundle was taken, in Unix time; 0 before the first.",
        value=switch.last_commit_at,
    )


def _as_others_call_it(status: AgentStatus) -> Iterator[Family]:
    """What dashboards of AntreaProxy and kube-proxy look for; one synchronisation of theirs is one bundle here."""
    durations = status.switch.commit_durations
    for name, owner in (("antrea_proxy", "AntreaProxy"), ("kubeproxy", "kube-proxy")):
        yield _histogram(
            f"{name}_sync_proxy_rules_duration_seconds", f"How long bundles took (also in {owner}).", durations
        )
    yield GaugeMetricFamily(
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
        "When the last bundle was taken, in Unix time; 0 before the first (also in kube-proxy).",
        value=status.switch.last_commit_at,
    )
    yield GaugeMetricFamily(
        "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
        "When the last change was told, in Unix time; 0 before the first (also in kube-proxy).",
        value=status.changes.last_at,
    )
    yield CounterMetricFamily(
        "kubeproxy_sync_proxy_rules_service_changes",
        "Services that were told as new, changed or gone (also in kube-proxy).",
        value=status.changes.services,
    )
    yield CounterMetricFamily(
        "kubeproxy_sync_proxy_rules_endpoint_changes",
        "EndpointSlices that were told as new, changed or gone (also in kube-proxy).",
        value=status.changes.endpoint_slices,
    )
    yield _histogram(
        "kubeproxy_network_programming_duration_seconds",
        "From a change of endpoints to the switch's word that it holds what follows (also in kube-proxy).",
        status.changes.programming,
    )


def _histogram(name: str, text: str, durations: Durations) -> HistogramMetricFamily:
    bounds = (*map(repr, durations.bounds), "+Inf")
    counts = itertools.accumulate(durations.counts)
    return HistogramMetricFamily(
        name, text, buckets=list(zip(bounds, counts, strict=True)), sum_value=durations.total_seconds
    )


def _sources(status: AgentStatus) -> Iterator[Family]:
    synced = GaugeMetricFamily(
        "antrea_proxy_source_synced", "Whether a kind of object was listed completely: 1 or 0.", labels=["kind"]
    )
    relists = CounterMetricFamily(
        "antrea_proxy_source_relists", "How often a kind of object was listed anew.", labels=["kind"]
    )
    for source in status.sources:
        synced.add_metric([source.kind], float(source.synced))
        relists.add_metric([source.kind], source.relists)
    yield synced
    yield relists
