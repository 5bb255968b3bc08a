"""Values that are good each by itself and cannot work together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from antrea_proxy.settings import defaults
from antrea_proxy.settings.choices import LoadBalancerMode, TrafficEncapMode, TunnelType
from antrea_proxy.settings.given_keys import Given
from antrea_proxy.settings.problems import Problem
from antrea_proxy.settings.values import Settings


def problems(settings: Settings, given: Mapping[str, Given]) -> Iterator[Problem]:
    """Name every combination that cannot work, at the key that the remedy would change."""

    def problem(path: str, reason: str, remedy: str) -> Problem:
        found = given.get(path)
        return Problem(
            path=path,
            value="" if found is None else found.shown,
            reason=reason,
            remedy=remedy,
            line=None if found is None else found.line,
        )

    proxy = settings.antrea_proxy
    if proxy.proxy_all and not settings.proxy_enabled:
        off = "antreaProxy.enable: false" if not proxy.enable else "featureGates.AntreaProxy: false"
        yield problem("antreaProxy.proxyAll", f"it cannot work with {off}", "remove one of the two")
    if proxy.default_load_balancer_mode is LoadBalancerMode.DSR and not settings.feature_gates.enabled(
        "LoadBalancerModeDSR"
    ):
        yield problem(
            "antreaProxy.defaultLoadBalancerMode",
            "the feature gate LoadBalancerModeDSR is off",
            "add `LoadBalancerModeDSR: true` to featureGates, or write nat",
        )
    if settings.no_snat and settings.traffic_encap_mode is not TrafficEncapMode.NO_ENCAP:
        yield problem(
            "noSNAT",
            f"it cannot work with trafficEncapMode {settings.traffic_encap_mode}: Pod addresses mean nothing outside",
            "write trafficEncapMode: noEncap, or remove noSNAT",
        )
    if settings.tunnel_port and settings.tunnel_type is TunnelType.GRE:
        yield problem("tunnelPort", "tunnelType gre has no ports", "remove it, or write geneve or vxlan")
    yield from _names_taken_twice(settings, problem)


def _names_taken_twice(settings: Settings, problem: Callable[[str, str, str], Problem]) -> Iterator[Problem]:
    named = {
        "ovsBridge": settings.ovs_bridge,
        "hostGateway": settings.host_gateway,
        "transportInterface": settings.transport_interface,
    }
    owners = dict.fromkeys(defaults.RESERVED_PORTS, "a port of the agent's own")
    for path, name in named.items():
        if name and name in owners:
            yield problem(path, f"the interface name {name} is already {owners[name]}", "write another name")
        owners.setdefault(name, f"the value of {path}")
