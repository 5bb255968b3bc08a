"""EndpointSlices come to hold exactly the Service's Pods, and as few of them are written as can be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.lab.control_plane.endpoint_slices import MOST_ENDPOINTS, SliceChanges, reconcile
from antrea_proxy.lab.control_plane.pod_views import PodView

JsonObject = dict[str, Any]
ZONES = {"node-1": "zone-1", "node-2": "zone-2"}
_NAMES = itertools.count()


def service(**spec: object) -> JsonObject:
    body = {
        "ipFamilies": ["IPv4"],
        "clusterIP": "10.96.1.1",
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
    }
    return {"metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"team": "a"}}, "spec": body | spec}


def pod(number: int, **fields: object) -> PodView:
    values: dict[str, Any] = {
        "namespace": "shop",
        "name": f"web-{number}",
        "uid": f"uid-{number}",
        "labels": {},
        "owner": "",
        "node": f"node-{number % 2 + 1}",
        "ips": (f"10.10.{number // 250}.{number % 250 + 2}", f"fd00:10::{number + 2:x}"),
        "phase": "Running",
        "ready": True,
        "ready_since": "",
        "terminating": False,
        "hostname": "",
        "subdomain": "",
        "ports": {},
        "created": "",
    }
    return PodView(**(values | fields))


def after(slices: Sequence[JsonObject], changes: SliceChanges) -> list[JsonObject]:
    """The slices as an API server keeps them."""
    updated = {found["metadata"]["name"]: found for found in changes.update}
    kept = [updated.get(found["metadata"]["name"], found) for found in slices]
    kept = [found for found in kept if found["metadata"]["name"] not in changes.delete]
    named = [{**new, "metadata": {**new["metadata"], "name": f"web-{next(_NAMES)}"}} for new in changes.create]
    return kept + named


def endpoints(slices: Sequence[JsonObject]) -> list[JsonObject]:
    return [endpoint for found in slices for endpoint in found["endpoints"]]


def names(slices: Sequence[JsonObject]) -> list[str]:
    return sorted(endpoint["targetRef"]["name"] for endpoint in endpoints(slices))


def test_two_hundred_and_fifty_pods_make_three_slices() -> None:
    changes = reconcile(service(), [pod(n) for n in range(250)], ZONES, [])
    assert [len(new["endpoints"]) for new in changes.create] == [100, 100, 50]


def test_a_slice_tells_its_service_its_manager_and_its_owner() -> None:
    (made,) = reconcile(service(), [pod(1)], ZONES, []).create
    assert made["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert made["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert made["endpoints"] == [
        {
            "addresses": ["10.10.0.3"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "uid-1"},
            "nodeName": "node-2",
            "zone": "zone-2",
        }
    ]


def test_each_family_has_slices_of_its_own() -> None:
    changes = reconcile(service(ipFamilies=["IPv6", "IPv4"]), [pod(1)], ZONES, [])
    found = {made["addressType"]: made["endpoints"][0]["addresses"] for made in changes.create}
    assert found == {"IPv6": ["fd00:10::3"], "IPv4": ["10.10.0.3"]}


def test_pods_whose_named_port_differs_are_in_different_slices() -> None:
    named = service(ports=[{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}])
    pods = [pod(1, ports={("web", "TCP"): 8080}), pod(2, ports={("web", "TCP"): 9090}), pod(3)]
    changes = reconcile(named, pods, ZONES, [])
    found = {tuple(port["port"] for port in made["ports"]): names([made]) for made in changes.create}
    assert found == {(8080,): ["web-1"], (9090,): ["web-2"], (): ["web-3"]}


def test_a_terminating_pod_serves_but_is_not_ready_unless_the_service_publishes_it() -> None:
    going = [pod(1, terminating=True)]
    (endpoint,) = endpoints(reconcile(service(), going, ZONES, []).create)
    assert endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
    (endpoint,) = endpoints(reconcile(service(publishNotReadyAddresses=True), going, ZONES, []).create)
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": True}


def test_a_finished_pod_and_one_without_an_address_are_no_endpoints() -> None:
    changes = reconcile(service(), [pod(1, phase="Succeeded"), pod(2, ips=())], ZONES, [])
    assert [made["endpoints"] for made in changes.create] == [[]]


def test_traffic_distribution_becomes_hints_of_ready_endpoints() -> None:
    pods = [pod(1), pod(2, ready=False)]
    for asked, hints in (
        ("PreferClose", {"forZones": [{"name": "zone-2"}]}),
        ("PreferSameZone", {"forZones": [{"name": "zone-2"}]}),
        ("PreferSameNode", {"forZones": [{"name": "zone-2"}], "forNodes": [{"name": "node-2"}]}),
    ):
        first, second = endpoints(reconcile(service(trafficDistribution=asked), pods, ZONES, []).create)
        assert first["hints"] == hints
        assert "hints" not in second


def test_a_service_without_endpoints_keeps_one_empty_slice() -> None:
    slices = after([], reconcile(service(), [], ZONES, []))
    assert [found["endpoints"] for found in slices] == [[]]
    assert reconcile(service(), [], ZONES, slices) == SliceChanges()


def test_one_changed_pod_writes_one_slice_and_moves_nobody() -> None:
    pods = [pod(n) for n in range(250)]
    slices = after([], reconcile(service(), pods, ZONES, []))
    pods[120] = pod(120, ready=False)
    changes = reconcile(service(), pods, ZONES, slices)
    assert (len(changes.update), changes.create, changes.delete) == (1, (), ())
    before = [endpoint["targetRef"]["name"] for endpoint in endpoints(slices)]
    assert [endpoint["targetRef"]["name"] for endpoint in endpoints(after(slices, changes))] == before


def test_new_pods_fill_a_slice_with_room_before_a_new_one_is_made() -> None:
    slices = after([], reconcile(service(), [pod(n) for n in range(150)], ZONES, []))
    changes = reconcile(service(), [pod(n) for n in range(190)], ZONES, slices)
    assert (len(changes.update), len(changes.create)) == (1, 0)
    assert [len(found["endpoints"]) for found in after(slices, changes)] == [100, 90]


_PODS = st.dictionaries(
    st.integers(0, 400), st.tuples(st.booleans(), st.booleans(), st.sampled_from([8080, 9090])), max_size=230
)


@given(st.lists(_PODS, min_size=1, max_size=4))
def test_after_any_changes_the_slices_hold_each_pod_once_and_are_then_left_alone(
    history: list[dict[int, tuple[bool, bool, int]]],
) -> None:
    named = service(ipFamilies=["IPv4", "IPv6"], ports=[{"name": "http", "port": 80, "targetPort": "web"}])
    slices: list[JsonObject] = []
    for step in history:
        pods = [
            pod(number, ready=ready, terminating=going, ports={("web", "TCP"): port})
            for number, (ready, going, port) in step.items()
        ]
        changes = reconcile(named, pods, ZONES, slices)
        touched = {found["metadata"]["name"] for found in changes.update} | set(changes.delete)
        assert len(touched) == len(changes.update) + len(changes.delete)
        slices = after(slices, changes)
        for family in ("IPv4", "IPv6"):
            mine = [found for found in slices if found["addressType"] == family]
            assert names(mine) == sorted(found.name for found in pods)
            for found in mine:
                assert len(found["endpoints"]) <= MOST_ENDPOINTS
                for endpoint in found["endpoints"]:
                    ready, going, port = step[int(endpoint["targetRef"]["name"].removeprefix("web-"))]
                    assert endpoint["conditions"]["ready"] == (ready and not going)
                    assert [entry["port"] for entry in found["ports"]] == [port]
        assert reconcile(named, pods, ZONES, slices) == SliceChanges()
