"""Services get addresses and ports that nobody else has, and refusals in the API's own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.resources import SERVICES
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.pools import Pool
from antrea_proxy.lab.control_plane.service_allocation import ServiceAllocator
from antrea_proxy.lab.options import IPFamily

JsonObject = dict[str, Any]


def make_store(family: IPFamily = IPFamily.DUAL) -> Store:
    store = Store()
    allocator = ServiceAllocator(AddressPlan(family=family).services)
    store.add_admission(SERVICES, allocator.admit)
    store.add_observer(SERVICES, allocator.observe)
    return store


def create(store: Store, name: str, *, dry_run: bool = False, **spec: object) -> JsonObject:
    body = {"ports": [{"port": 80}], "selector": {"app": "x"}} | spec
    obj = {"metadata": {"name": name, "namespace": "default"}, "spec": body}
    spec_kept: JsonObject = store.create(SERVICES, obj, dry_run=dry_run)["spec"]
    return spec_kept


def change(store: Store, name: str, **spec: object) -> JsonObject:
    def apply(service: JsonObject) -> None:
        service["spec"].update(spec)

    kept: JsonObject = store.modify(SERVICES, "default", name, apply)["spec"]
    return kept


def test_a_service_gets_an_address_of_the_first_family() -> None:
    spec = create(make_store(), "a")
    assert spec["clusterIP"].startswith("10.96.")
    assert (spec["clusterIPs"], spec["ipFamilies"], spec["ipFamilyPolicy"]) == (
        [spec["clusterIP"]],
        ["IPv4"],
        "SingleStack",
    )


@pytest.mark.parametrize("policy", ["PreferDualStack", "RequireDualStack"])
def test_a_dual_stack_service_gets_an_address_of_each_family_in_the_order_asked(policy: str) -> None:
    spec = create(make_store(), "a", ipFamilyPolicy=policy, ipFamilies=["IPv6"])
    assert spec["ipFamilies"] == ["IPv6", "IPv4"]
    assert [":" in address for address in spec["clusterIPs"]] == [True, False]
    assert spec["clusterIP"] == spec["clusterIPs"][0]


def test_on_a_single_stack_cluster_dual_stack_is_preferred_in_vain_and_required_never() -> None:
    store = make_store(IPFamily.IPV4)
    assert create(store, "a", ipFamilyPolicy="PreferDualStack")["ipFamilies"] == ["IPv4"]
    with pytest.raises(ApiError, match="this cluster is not configured for dual-stack services"):
        create(store, "b", ipFamilyPolicy="RequireDualStack")
    with pytest.raises(ApiError, match=r'spec.ipFamilies\[0\]: Invalid value: "IPv6": not configured on this cluster'):
        create(store, "c", ipFamilies=["IPv6"])


def test_a_service_turns_dual_stack_and_back() -> None:
    store = make_store()
    first = create(store, "a")["clusterIP"]
    both = change(store, "a", ipFamilyPolicy="PreferDualStack")["clusterIPs"]
    assert both[0] == first
    assert len(both) == 2
    single = {"ipFamilyPolicy": "SingleStack", "clusterIPs": [first], "ipFamilies": ["IPv4"]}
    assert change(store, "a", **single)["clusterIPs"] == [first]
    assert create(store, "b", clusterIP=both[1])["ipFamilies"] == ["IPv6"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.96.0.9", "provided IP is already allocated"),
        (
            "10.97.0.1",
            "the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
        ),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_in_the_apis_words(address: str, words: str) -> None:
    store = make_store()
    create(store, "first", clusterIP="10.96.0.9")
    with pytest.raises(ApiError) as refused:
        create(store, "second", clusterIP=address)
    assert str(refused.value).startswith('Service "second" is invalid: spec.clusterIPs: Invalid value: ')
    assert str(refused.value).endswith(f": failed to allocate IP {address}: {words}")
    assert refused.value.code == 422


def test_a_deleted_service_gives_its_address_and_ports_back() -> None:
    store = make_store()
    spec = create(store, "a", clusterIP="10.96.0.9", type="NodePort")
    port = spec["ports"][0]["nodePort"]
    store.delete(SERVICES, "default", "a")
    again = create(store, "b", clusterIP="10.96.0.9", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    assert again["ports"][0]["nodePort"] == port


def test_a_dry_run_and_a_refused_write_take_nothing() -> None:
    store = make_store()
    create(store, "dry", dry_run=True, clusterIP="10.96.0.9")
    create(store, "a", type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    with pytest.raises(ApiError):
        create(store, "b", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 80, "nodePort": 30001}])
    assert create(store, "c", clusterIP="10.96.0.9")["clusterIP"] == "10.96.0.9"


def test_headless_and_external_name_services_get_nothing() -> None:
    store = make_store()
    headless = create(store, "h", clusterIP="None")
    assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
    named = create(store, "e", type="ExternalName", externalName="example.org")
    assert not {"clusterIP", "clusterIPs", "ipFamilies"} & set(named)


def test_a_headless_service_without_selector_is_dual_stack_everywhere() -> None:
    spec = create(make_store(IPFamily.IPV4), "h", clusterIP="None", selector={})
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])


def test_tcp_and_udp_of_one_port_share_a_node_port() -> None:
    ports = [{"name": "t", "port": 53, "protocol": "TCP"}, {"name": "u", "port": 53, "protocol": "UDP"}]
    spec = create(make_store(), "dns", type="NodePort", ports=ports)
    first, second = (port["nodePort"] for port in spec["ports"])
    assert first == second
    assert 30000 <= first <= 32767


def test_a_node_port_that_is_taken_is_refused_and_kept_over_updates() -> None:
    store = make_store()
    spec = create(store, "a", type="NodePort")
    port = spec["ports"][0]["nodePort"]
    with pytest.raises(ApiError) as refused:
        create(store, "b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    words = f"spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated"
    assert words in str(refused.value)
    assert change(store, "a", type="LoadBalancer")["ports"][0]["nodePort"] == port
    assert "nodePort" not in change(store, "a", type="ClusterIP")["ports"][0]
    assert create(store, "b", type="NodePort", ports=[{"port": 80, "nodePort": port}])["ports"][0]["nodePort"] == port


def test_a_local_load_balancer_has_a_health_check_port_of_its_own() -> None:
    store = make_store()
    spec = create(store, "a", type="LoadBalancer", externalTrafficPolicy="Local")
    assert spec["healthCheckNodePort"] not in {port["nodePort"] for port in spec["ports"]}
    with pytest.raises(ApiError, match="failed to allocate requested HealthCheck NodePort"):
        create(
            store,
            "b",
            type="LoadBalancer",
            externalTrafficPolicy="Local",
            healthCheckNodePort=spec["healthCheckNodePort"],
        )
    assert "healthCheckNodePort" not in change(store, "a", externalTrafficPolicy="Cluster")


def test_a_load_balancer_may_do_without_node_ports() -> None:
    spec = create(make_store(), "a", type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    assert "nodePort" not in spec["ports"][0]


@given(st.lists(st.one_of(st.none(), st.integers(0, 40)), max_size=60))
def test_a_pool_never_gives_a_member_twice_and_gives_all(steps: list[int | None]) -> None:
    pool = Pool(first=100, last=131)
    held: dict[int, str] = {}
    for number, step in enumerate(steps):
        if step is None:
            member = pool.next_free()
            assert (member is None) == (len(held) == 32)
            if member is not None:
                assert member not in held
                pool.hold(member, str(number))
                held[member] = str(number)
        elif held:
            gone = sorted(held)[step % len(held)]
            pool.release(gone, held.pop(gone))


def test_a_member_that_was_given_back_is_not_the_next_one_given() -> None:
    pool = Pool(first=1, last=1000)
    first = pool.next_free()
    assert first is not None
    pool.hold(first, "a")
    pool.release(first, "a")
    assert pool.next_free() == first + 1
