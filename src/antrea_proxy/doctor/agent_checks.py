"""Checks of the agent: whether it runs, reaches its switch and the API server, and what it says of Services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from antrea_proxy.doctor.facts import AgentFacts, Facts
from antrea_proxy.doctor.findings import Finding, Severity
from antrea_proxy.pipeline.capabilities import unsupported_protocols

LONGEST_PENDING_S: Final = 60.0
"""A change that is not in the switch after so many seconds is stuck."""

_ABORTING: Final = ((3, 1), (3, 3))
"""From, and up to, these versions the userspace tracker aborts on a translation that changes nothing."""


def agent(facts: Facts) -> Iterator[Finding]:
    """The agent must run, and reach its switch."""
    if isinstance(facts.agent, str):
        yield Finding(
            check="agent",
            severity=Severity.ERROR,
            what=facts.agent,
            mend="start the agent on this Node; its log says what keeps it from running",
        )
        return
    status = facts.agent.status
    if not status.switch.connected:
        yield Finding(
            check="switch",
            severity=Severity.ERROR,
            what=f"the agent does not reach its switch: {status.problem or status.phase}",
            mend=f"see that ovs-vswitchd runs (ovs-vsctl show) and has the bridge {status.switch.bridge}",
        )
    elif status.phase == "retrying":
        yield Finding(
            check="switch",
            severity=Severity.ERROR,
            what=f"the switch does not take what it must hold: {status.problem}",
            mend="the agent goes on trying; antrea-proxy get services shows which Services are concerned",
        )
    if status.pending_since is not None and facts.agent.now - status.pending_since > LONGEST_PENDING_S:
        yield Finding(
            check="pending",
            severity=Severity.ERROR,
            what=f"a change has not been in the switch for {facts.agent.now - status.pending_since:.0f} s",
            mend="see the agent's log",
        )


def network(facts: Facts) -> Iterator[Finding]:
    """What the agent cannot use of Nodes, and health checks that it cannot answer."""
    if isinstance(facts.agent, str):
        return
    status = facts.agent.status
    for problem in status.network_problems:
        yield Finding(
            check="network",
            severity=Severity.WARNING,
            what=problem,
            mend="correct the Node that is named (kubectl describe node)",
        )
    if status.health_problem:
        yield Finding(
            check="health",
            severity=Severity.WARNING,
            what=status.health_problem,
            mend="free the port, or set serviceHealthCheckServerBindAddress",
        )


def api_server(facts: Facts) -> Iterator[Finding]:
    """The way to the API server, kubeAPIServerOverride where it is set."""
    override = facts.settings.kube_api_server_override
    key = f"kubeAPIServerOverride: {override}" if override else "the API server"
    mend = (
        "write an address of the API server that works without any Service, and that its certificate names"
        if override
        else "see that it runs; without kube-proxy, set kubeAPIServerOverride to an address that needs no Service"
    )
    reasons = [facts.api_server] if facts.api_server else []
    if isinstance(facts.agent, AgentFacts):
        reasons += [
            source.last_error
            for source in facts.agent.status.sources
            if source.last_error and source.connected_since is None
        ]
    if reasons:
        yield Finding(check="api-server", severity=Severity.ERROR, what=f"{key}: {reasons[0]}", mend=mend)


def services(facts: Facts) -> Iterator[Finding]:
    """Services that are not served, or not in all that they ask for, in the agent's own words."""
    if isinstance(facts.agent, str):
        return
    switch = facts.agent.status.switch
    lacking = unsupported_protocols(datapath_type=switch.datapath_type, ovs_version=switch.ovs_version)
    for service in facts.agent.services:
        for problem in service.problems:
            cannot = any(reason in problem for reason in lacking.values())
            yield Finding(
                check="protocol" if cannot else "service",
                severity=Severity.WARNING,
                what=problem,
                mend="use the kernel's datapath (ovsDatapathType: system), or Open vSwitch 3.2 or newer"
                if cannot
                else f"correct the Service: kubectl -n {service.namespace} edit service {service.name}",
            )


def open_vswitch(facts: Facts) -> Iterator[Finding]:
    """Versions with faults that are known; docs/how-it-works.md tells of these two."""
    if isinstance(facts.agent, str):
        return
    switch = facts.agent.status.switch
    numbers = tuple(map(int, re.findall(r"\d+", switch.ovs_version)[:2]))
    first, mended = _ABORTING
    if switch.datapath_type == "netdev" and first <= numbers < mended:
        yield Finding(
            check="open-vswitch",
            severity=Severity.NOTE,
            what=f"Open vSwitch {switch.ovs_version} aborts when its userspace connection tracker meets an expired "
            "entry whose translation changed nothing. The agent's flows make none; other bridges of this switch might. "
            "It also keeps replies' tuples for up to 20 s, so that one client cannot open more than some 3,200 "
            "connections a second to one endpoint for long",
            mend="use Open vSwitch 3.3 or newer, or the kernel's datapath",
        )
