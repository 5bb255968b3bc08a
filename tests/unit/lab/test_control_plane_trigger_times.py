"""EndpointSlices tell when what they tell happened, as kube-controller-manager's do."""

from __future__ import annotations

from antrea_proxy.lab.control_plane.trigger_times import ANNOTATION, TriggerTimes, annotate
from unit.lab.test_control_plane_slices import JsonObject, pod

KEY = ("shop", "web")
CREATED = "2026-01-01T00:00:00Z"


def at(second: int) -> str:
    return f"2026-01-01T00:01:{second:02}Z"


def test_a_new_service_was_triggered_by_its_creation() -> None:
    """Whatever its Pods say: they were there before."""
    assert TriggerTimes().next(KEY, CREATED, [pod(1, ready_since=at(1))]) == CREATED


def test_pods_that_became_ready_or_unready_trigger_and_the_first_of_them_counts() -> None:
    times = TriggerTimes()
    times.next(KEY, CREATED, [pod(1, ready_since=at(1)), pod(2, ready_since=at(1))])
    later = [pod(1, ready_since=at(9)), pod(2, ready_since=at(7)), pod(3, ready_since=at(8)), pod(4)]
    assert times.next(KEY, CREATED, later) == at(7)
    assert times.next(KEY, CREATED, later) == ""
    assert times.next(KEY, CREATED, later[:1]) == ""


def test_a_pod_triggers_from_its_address_on() -> None:
    """Scheduled, given an address and ready within one second: the slice that bears it tells of it."""
    times = TriggerTimes()
    times.next(KEY, CREATED, [])
    assert times.next(KEY, CREATED, [pod(1, ips=(), ready_since=at(1))]) == ""
    assert times.next(KEY, CREATED, [pod(1, ready_since=at(1))]) == at(1)


def test_a_service_that_was_made_anew_is_new() -> None:
    times = TriggerTimes()
    times.next(KEY, CREATED, [])
    times.forget(KEY)
    assert times.next(KEY, at(5), []) == at(5)


def test_a_slice_that_is_written_for_another_reason_bears_no_time() -> None:
    found: JsonObject = {"metadata": {"annotations": {"a": "b"}}}
    annotate(found, at(1))
    assert found["metadata"]["annotations"] == {"a": "b", ANNOTATION: at(1)}
    annotate(found, "")
    assert found["metadata"]["annotations"] == {"a": "b"}
