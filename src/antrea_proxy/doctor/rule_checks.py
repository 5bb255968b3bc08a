"""Checks of other people's rules on the Node: what kube-proxy left, and what drops packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from antrea_proxy.doctor.facts import Facts
from antrea_proxy.doctor.findings import Finding, Severity


def kube_proxy(facts: Facts) -> Iterator[Finding]:
    """Rules that nobody looks after translate to endpoints as they once were."""
    node = facts.node
    proxy_all = facts.settings.antrea_proxy.proxy_all
    if node.kube_proxies and proxy_all:
        yield Finding(
            check="kube-proxy",
            severity=Severity.NOTE,
            what=f"kube-proxy runs beside the agent, which has all Service traffic: {', '.join(node.kube_proxies)}",
            mend="it is not needed: kubectl -n kube-system delete daemonset kube-proxy",
        )
    if node.leftovers and not node.kube_proxies:
        kinds = Counter(line.partition(":")[0] for line in node.leftovers.lines())
        found = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
        yield Finding(
            check="kube-proxy",
            severity=Severity.ERROR,
            what=f"kube-proxy does not run, and its rules are still here, for endpoints as they were ({found})",
            mend="antrea-proxy cleanup kube-proxy"
            if proxy_all
            else "start kube-proxy, or: antrea-proxy cleanup kube-proxy",
        )
    for text in node.leftovers.unseen:
        yield Finding(
            check="kube-proxy",
            severity=Severity.NOTE,
            what=f"not looked at: {text}",
            mend="install the program, to have it looked at",
        )


def invalid(facts: Facts) -> Iterator[Finding]:
    """The Node's tracker sees one half of some connections, and calls their packets invalid."""
    for rule in facts.node.drop_rules:
        yield Finding(
            check="invalid",
            severity=Severity.WARNING,
            what=f"a rule drops what the connection tracker calls invalid ({rule}): packets of connections of which "
            "this Node sees one direction alone are lost",
            mend="remove the rule, or accept Pods' addresses and the gateway's interface before it",
        )
