"""All checks in one order: what stops everything comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from antrea_proxy.doctor import agent_checks, rule_checks, stack_checks
from antrea_proxy.doctor.facts import Facts
from antrea_proxy.doctor.findings import Finding

CHECKS: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    agent_checks.agent,
    agent_checks.api_server,
    stack_checks.kernel_modules,
    stack_checks.gateway,
    stack_checks.forwarding,
    rule_checks.kube_proxy,
    stack_checks.reverse_path,
    stack_checks.mtu,
    rule_checks.invalid,
    stack_checks.routes,
    stack_checks.listeners,
    agent_checks.network,
    agent_checks.services,
    agent_checks.open_vswitch,
)


def examine(facts: Facts) -> tuple[Finding, ...]:
    """Return all that is wrong on a Node."""
    return tuple(finding for check in CHECKS for finding in check(facts))
