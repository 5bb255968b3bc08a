"""The agent's status, put together from what its parts tell of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from antrea_proxy.agent.decisions import Decisions
from antrea_proxy.agent.installation import Installation
from antrea_proxy.agent.service_problems import Finder, Problems, ServiceProblems
from antrea_proxy.agent.status import AgentStatus, ChangesReport, HealthReport, HostReport, Phase, SourceReport
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.network.values import IPAddress, Network
from antrea_proxy.proxy.problems import Problem, Reason


def _nobody_asks(_: NamespacedName, __: Problems) -> None:
    """For one whose status is all that is looked at."""


class Reports:
    """Holds the status and publishes each new one.

    `publish` is given the status after every step forward, `problems_changed` all that is wrong with a Service whenever
    that may be something else, and `claimants` tells which Services claim an address. All methods belong to the event
    loop's thread.
    """

    def __init__(
        self,
        status: AgentStatus,
        *,
        publish: Callable[[AgentStatus], None],
        claimants: Callable[[str], Iterable[Service]],
        problems_changed: Callable[[NamespacedName, Problems], None] = _nobody_asks,
    ) -> None:
        self.problems = ServiceProblems(problems_changed)
        self.status = replace(status, service_problems=MappingProxyType(self.problems.by_service))
        self._publish = publish
        self._claimants = claimants

    def follow(self, decisions: Decisions, installation: Installation) -> None:
        """Show what is decided and what is installed, from now on as it changes."""
        self.status = replace(
            self.status,
            load_balancers=MappingProxyType(decisions.load_balancers),
            left_alone=MappingProxyType(decisions.left_alone),
            installed=MappingProxyType(installation.units),
        )

    def show_sources(self, sources: tuple[SourceReport, ...]) -> None:
        """Publish how the sources are doing."""
        self._publish_with(replace(self.status, sources=sources))

    def show_health(self, health: HealthReport) -> None:
        """Publish how health checks are doing."""
        self.problems.found_in_all(
            Finder.HEALTH_CHECKS,
            {
                name: (Problem(reason=Reason.HEALTH_CHECK_UNAVAILABLE, text=text),)
                for name, text in health.of_services.items()
            },
        )
        self._publish_with(replace(self.status, health=health))

    def show_host(self, report: HostReport) -> None:
        """Publish how the Node's own network stack is doing."""
        self.problems.found_in_all(
            Finder.HOST,
            {
                service.metadata.namespaced_name: (Problem(reason=Reason.ROUTE_TAKEN, text=_taken(service, address)),)
                for address in report.taken
                for service in self._claimants(str(address))
            },
        )
        self._publish_with(replace(self.status, host=report))

    def count_flushes(self, number: int) -> None:
        """Publish that the switch was asked to forget connections, by so many messages."""
        switch = self.status.switch
        switch = replace(switch, connection_flushes=switch.connection_flushes + number)
        self._publish_with(replace(self.status, switch=switch))

    def describe_switch(self, *, bridge: str, datapath_type: str, ovs_version: str) -> None:
        """Note which switch it is."""
        switch = replace(self.status.switch, bridge=bridge, datapath_type=datapath_type, ovs_version=ovs_version)
        self.status = replace(self.status, switch=switch)

    def note_network(self, network: Network | None, problems: tuple[str, ...]) -> None:
        """Note the network that is programmed, and what is wrong with it."""
        self.status = replace(self.status, network=network, network_problems=problems)

    def note_disconnected(self) -> None:
        """Note that the switch is out of reach."""
        self.status = replace(self.status, switch=replace(self.status.switch, connected=False))

    def note_commit(
        self, installation: Installation, *, failed: bool, messages: int, seconds: float, resynchronised: bool = False
    ) -> None:
        """Note that the switch was brought to hold what is installed now, by so many messages and in so long."""
        report = self.status.switch
        report = replace(
            report,
            connected=True,
            flows=installation.flows,
            groups=installation.groups,
            commits=report.commits + 1,
            failed_commits=report.failed_commits + failed,
            messages=report.messages + messages,
            resynchronisations=report.resynchronisations + resynchronised,
            last_commit_seconds=seconds,
            commit_durations=report.commit_durations.with_more(seconds),
            last_commit_at=time.time(),
        )
        self.status = replace(self.status, switch=report)

    def note_refusals(self, errors: Mapping[NamespacedName, str]) -> None:
        """Note the Services whose flows the switch refused, and why."""
        self.problems.found_in_all(Finder.SWITCH, {name: (_refused(name, error),) for name, error in errors.items()})

    def show_phase(
        self, phase: Phase, problem: str = "", *, pending_since: float | None, changes: ChangesReport
    ) -> None:
        """Publish how far the loop is, and since when, in Unix time, a change waits for the switch."""
        self._publish_with(
            replace(self.status, phase=phase, problem=problem, pending_since=pending_since, changes=changes)
        )

    def _publish_with(self, status: AgentStatus) -> None:
        self.status = status
        self._publish(status)


def _refused(service: NamespacedName, error: str) -> Problem:
    text = f"Service {service}: the switch refused its flows: {error}; what it had before stays, and it is tried again"
    return Problem(reason=Reason.REFUSED_BY_SWITCH, text=text)


def _taken(service: Service, address: IPAddress) -> str:
    return (
        f"Service {service.metadata.namespaced_name}: {address}: this Node has a route to it that is not the proxy's, "
        f"so that Pods alone reach the Service there; remove it if nobody needs it: ip route del {address}"
    )
