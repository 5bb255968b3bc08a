"""The metrics count what the switch confirmed, under the names that AntreaProxy's dashboards know."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from antrea_proxy.agent.status import (
    DURATION_BOUNDS,
    PROGRAMMING_BOUNDS,
    AgentStatus,
    ChangesReport,
    Durations,
    Phase,
    SwitchReport,
)
from antrea_proxy.http_api.installed import Counts, InstalledCounts
from antrea_proxy.http_api.metrics import StatusCollector, exposition
from worlds import SERVICES, SLICES, WORLD, endpoint_slice, service, world


def samples(status: AgentStatus) -> dict[tuple[str, tuple[str, ...]], float]:
    """All values by metric and label values."""
    text = exposition(lambda: status)().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_installed_services_and_endpoints_are_counted_by_family() -> None:
    found = samples(WORLD.status())
    assert found["antrea_proxy_total_services_installed", ("v4",)] == 6
    assert found["antrea_proxy_total_services_installed", ("v6",)] == 2
    assert found["antrea_proxy_total_endpoints_installed", ("v4",)] == 3 + 3 + 1 + 1
    assert found["antrea_proxy_total_endpoints_installed", ("v6",)] == 2 + 2


def test_what_the_switch_has_not_confirmed_is_not_installed() -> None:
    found = samples(WORLD.status(installed=MappingProxyType({}), pending_since=5.0))
    assert found["antrea_proxy_total_services_installed", ("v4",)] == 0
    assert found["antrea_proxy_total_endpoints_installed", ("v4",)] == 0
    assert found["antrea_agent_ovs_total_flow_count", ()] == 0
    assert found["antrea_proxy_service_ports", ("v4", "balanced")] == 4, "as decided, all the same"
    assert found["antrea_proxy_pending_since_seconds", ()] == 5.0


@pytest.mark.parametrize("count", [1, 2, 3, 8, 31, 33, 40, 100])
def test_endpoints_are_counted_right_in_every_form_of_a_service(count: int) -> None:
    """A single endpoint, groups with a split bucket, slot tables; two ports with the same endpoints count each."""
    ports: Any = [("a", "TCP", 80), ("b", "TCP", 81)]
    targets: Any = [("a", "TCP", 8080), ("b", "TCP", 8080)]
    endpoints = [(f"10.10.2.{host}", f"p{host}", "node-2") for host in range(5, 5 + count)]
    here = world([service("s", "10.96.3.1", ports=ports)], [endpoint_slice("s", *endpoints, ports=targets)])
    assert InstalledCounts().count(here.units)[4] == Counts(services=2, endpoints=2 * count)


def test_a_service_that_changed_is_counted_anew_and_one_that_went_no_more() -> None:
    counts = InstalledCounts()
    assert counts.count(WORLD.units)[4] == Counts(6, 8)
    fewer = {owner: unit for owner, unit in WORLD.units.items() if owner.name != "default/single"}
    assert counts.count(fewer)[4] == Counts(5, 7)
    scaled = world(SERVICES, [item for item in SLICES if item["metadata"]["name"] != "web-ipv4"])
    assert counts.count(scaled.units)[4] == Counts(6, 2), "web is refused now"
    assert counts.count(WORLD.units)[4] == Counts(6, 8)


def test_services_with_problems_are_counted_once_for_each_reason() -> None:
    """Two bad ports of one Service are one Service with a bad port."""
    ports: Any = [("a", "TCP", 0), ("b", "TCP", 70000), ("c", "TCP", 80), ("d", "GRE", 81)]
    found = samples(
        world([service("s", "10.96.3.1", ports=ports), service("t", "10.96.3.1", ports=ports)], []).status()
    )
    assert found["antrea_proxy_services_with_problems", ()] == 2
    assert found["antrea_proxy_service_problems", ("InvalidPort",)] == 2
    assert found["antrea_proxy_service_problems", ("InvalidProtocol",)] == 2
    assert found["antrea_proxy_service_problems", ("AddressConflict",)] == 1
    assert found["antrea_proxy_service_problems", ("RefusedBySwitch",)] == 0


def test_flows_are_counted_by_table() -> None:
    found = samples(WORLD.status())
    total = sum(len(unit.flows) for unit in WORLD.units.values())
    assert found["antrea_agent_ovs_total_flow_count", ()] == total
    assert sum(value for (name, _), value in found.items() if name == "antrea_agent_ovs_flow_count") == total


def test_the_switch_and_the_phase_are_told() -> None:
    switch = SwitchReport(connected=False, bridge="br-x", commits=7, failed_commits=2)
    found = samples(WORLD.status(phase=Phase.RETRYING, switch=switch))
    assert found["antrea_proxy_switch_connected", ()] == 0
    assert found["antrea_proxy_switch_commits_total", ()] == 7
    assert found["antrea_proxy_switch_failed_commits_total", ()] == 2
    assert found["antrea_proxy_phase", ("retrying",)] == 1
    assert found["antrea_proxy_phase", ("running",)] == 0
    assert found["antrea_agent_local_pod_count", ()] == 2


def test_every_metric_is_documented_with_its_meaning() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text()
    for family in StatusCollector(WORLD.status).collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        assert f"| `{family.name}{suffix}` | {family.type} |" in page, family.name
        assert family.documentation in page, family.name


def test_changes_of_endpoints_are_counted_in_the_buckets_of_kube_proxy() -> None:
    """0.25 s and 0.5 s, each second of the first minute, every five of the second, every half minute up to five."""
    programming = Durations.none(PROGRAMMING_BOUNDS).with_more(0.2, 0.3, 59.5, 61, 119, 290, 900)
    found = samples(WORLD.status(changes=ChangesReport(programming=programming)))
    name = "kubeproxy_network_programming_duration_seconds"
    wanted = {"0.25": 1, "0.5": 2, "59.0": 2, "60.0": 3, "65.0": 4, "115.0": 4, "120.0": 5, "300.0": 6, "+Inf": 7}
    assert {bound: found[f"{name}_bucket", (bound,)] for bound in wanted} == wanted
    assert len([key for key in found if key[0] == f"{name}_bucket"]) == 2 + 59 + 12 + 7 + 1


@pytest.mark.parametrize("owner", ["antrea_proxy", "kubeproxy"])
def test_durations_of_bundles_are_counted_as_both_proxies_do(owner: str) -> None:
    """Each bucket holds all that took as long or less; kube-proxy's own bounds."""
    durations = Durations.none(DURATION_BOUNDS).with_more(0.0005, 0.001, 0.0011, 3.0, 100.0)
    found = samples(WORLD.status(switch=SwitchReport(commit_durations=durations)))
    name = f"{owner}_sync_proxy_rules_duration_seconds"
    buckets = {
        bound: found[f"{name}_bucket", (bound,)] for bound in ("0.001", "0.002", "2.048", "4.096", "16.384", "+Inf")
    }
    assert list(buckets.values()) == [2, 3, 3, 4, 4, 5]
    assert found[f"{name}_count", ()] == 5
    assert found[f"{name}_sum", ()] == pytest.approx(103.0026)
