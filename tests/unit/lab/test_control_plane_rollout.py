"""A Deployment rolls out within its bounds and always comes to its end."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.api_server.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.manager import ControlPlane
from antrea_proxy.lab.control_plane.pod_views import PodView
from antrea_proxy.lab.control_plane.replica_sets import to_delete
from antrea_proxy.lab.control_plane.rollouts import (
    SetState,
    next_sizes,
    number_of,
    surge_and_unavailable,
    template_hash,
)
from antrea_proxy.lab.control_plane.scheduler import choose
from antrea_proxy.lab.options import IPFamily

JsonObject = dict[str, Any]


def _spec(replicas: int, surge: int | str, unavailable: int | str) -> JsonObject:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}


_AMOUNT = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(st.integers(1, 20), _AMOUNT, _AMOUNT, st.lists(st.integers(0, 8), max_size=3), st.randoms(use_true_random=False))
def test_a_rollout_keeps_its_bounds_and_ends(
    replicas: int, surge: int | str, unavailable: int | str, before: list[int], chance: random.Random
) -> None:
    spec = _spec(replicas, surge, unavailable)
    most_surge, most_missing = surge_and_unavailable(spec["strategy"], replicas)
    # What ran before ran well: never more than the Deployment had room for.
    old = {f"old-{i}": SetState(name=f"old-{i}", wanted=n, replicas=n, available=n) for i, n in enumerate(before)}
    new = SetState(name="new", wanted=0, replicas=0, available=0)
    had = sum(before)
    for _ in range(400):
        sizes = next_sizes(spec, new, list(old.values()))
        new = replace(new, wanted=sizes.get("new", new.wanted))
        for name, one in old.items():
            size = sizes.get(name, one.wanted)
            assert size <= one.wanted
            old[name] = replace(one, wanted=size, replicas=size, available=min(one.available, size))
        total = new.wanted + sum(one.wanted for one in old.values())
        assert total <= max(replicas + most_surge, had)
        ready = new.available + sum(one.available for one in old.values())
        assert ready >= min(replicas - most_missing, had)
        if new.available < new.wanted and (not sizes or chance.random() < 0.5):
            new = replace(new, replicas=new.wanted, available=new.available + 1)
        elif not sizes and new.available == new.wanted:
            break
    assert (new.wanted, [one.wanted for one in old.values()]) == (replicas, [0] * len(old))


def test_recreate_takes_all_old_pods_away_before_a_new_one_comes() -> None:
    spec = {"replicas": 3, "strategy": {"type": "Recreate"}}
    new = SetState(name="new", wanted=0, replicas=0, available=0)
    old = SetState(name="old", wanted=3, replicas=3, available=3)
    assert next_sizes(spec, new, [old]) == {"old": 0}
    assert next_sizes(spec, new, [replace(old, wanted=0, replicas=1)]) == {}
    assert next_sizes(spec, new, [replace(old, wanted=0, replicas=0)]) == {"new": 3}


def test_surge_is_rounded_up_and_unavailable_down() -> None:
    assert number_of("25%", 6, up=True) == 2
    assert number_of("25%", 6, up=False) == 1
    assert surge_and_unavailable({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}, 3) == (0, 1)


def test_templates_are_told_apart_by_their_hash() -> None:
    assert template_hash({"a": 1, "b": 2}) == template_hash({"b": 2, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})


def _pod(name: str, node: str, *, ready: bool = True, created: str = "2026-01-01T00:00:00Z") -> PodView:
    return PodView(
        namespace="d",
        name=name,
        uid=name,
        labels={},
        owner="o",
        node=node,
        ips=(),
        phase="Running" if node else "Pending",
        ready=ready,
        ready_since=created,
        terminating=False,
        hostname="",
        subdomain="",
        ports={},
        created=created,
    )


def test_scaling_down_takes_the_unready_first_and_then_evens_the_nodes_out() -> None:
    crowd = [_pod(name, "n1") for name in ("c", "d", "e")]
    pods = [_pod("a", "n2"), _pod("b", "n2"), *crowd, _pod("y", "n2", ready=False), _pod("z", "")]
    assert [pod.name for pod in to_delete(pods, 4)] == ["z", "y", "c", "a"]


def test_scaling_down_takes_the_youngest_of_equals() -> None:
    pods = [_pod("old", "n1", created="2026-01-01T00:00:00Z"), _pod("young", "n1", created="2026-01-01T00:00:09Z")]
    assert [pod.name for pod in to_delete(pods, 1)] == ["young"]


def _node(name: str, **spec: object) -> JsonObject:
    conditions = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": name, "labels": {"disk": name}}, "spec": spec, "status": {"conditions": conditions}}


_WHY = "1 node didn't match Pod's node affinity/selector, 1 node has untolerated taint {gpu: }, 1 node is unschedulable"


def _wanting(**spec: object) -> JsonObject:
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("pod", "node", "problem"),
    [
        (_wanting(), "b", ""),
        (_wanting(nodeSelector={"disk": "b"}), "b", ""),
        (
            _wanting(nodeSelector={"disk": "x"}),
            "",
            _WHY,
        ),
        (_wanting(nodeSelector={"disk": "c"}, tolerations=[{"key": "gpu", "operator": "Exists"}]), "c", ""),
    ],
)
def test_a_pod_goes_where_it_may_go_or_is_told_why_not(pod: JsonObject, node: str, problem: str) -> None:
    nodes = [_node("a", unschedulable=True), _node("b"), _node("c", taints=[{"key": "gpu", "effect": "NoSchedule"}])]
    assert choose(pod, nodes, []) == (node, problem and f"0/3 nodes are available: {problem}.")


def test_a_deployment_is_rolled_out_scaled_and_changed_through_the_store() -> None:
    async def scenario() -> None:
        store = Store()
        plane = ControlPlane(store, AddressPlan(family=IPFamily.IPV4))
        running = asyncio.create_task(plane.run())
        template = {"metadata": {"labels": {"app": "w"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 3, "selector": {"matchLabels": {"app": "w"}}, "template": template}
        store.create(DEPLOYMENTS, {"metadata": {"name": "w", "namespace": "default"}, "spec": spec})

        async def settle(replicas: int, revision: str) -> None:
            for _ in range(400):
                _make_pods_ready(store)
                await asyncio.sleep(0.001)
                status = store.get(DEPLOYMENTS, "default", "w").get("status") or {}
                counts = [status.get(f"{name}Replicas", 0) for name in ("updated", "available")]
                if [*counts, status.get("replicas")] == [replicas] * 3:
                    break
            deployment = store.get(DEPLOYMENTS, "default", "w")
            assert [*counts, status.get("replicas")] == [replicas] * 3
            assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == revision
            assert status["observedGeneration"] == deployment["metadata"]["generation"]

        await settle(3, "1")
        store.patch(DEPLOYMENTS, "default", "w", {"spec": {"replicas": 5}}, subresource="scale")
        await settle(5, "1")
        change = {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}
        store.patch(DEPLOYMENTS, "default", "w", change)
        await settle(5, "2")
        store.patch(DEPLOYMENTS, "default", "w", {"spec": {"template": {"metadata": {"annotations": {"v": None}}}}})
        await settle(5, "3")
        sets, _ = store.list(REPLICA_SETS)
        assert sorted(one["spec"]["replicas"] for one in sets) == [0, 5]
        store.delete(DEPLOYMENTS, "default", "w")
        assert store.list(REPLICA_SETS)[0] == []
        running.cancel()

    asyncio.run(scenario())


def _make_pods_ready(store: Store) -> None:
    """Be the kubelet: Pods become ready, and those that are to go are gone."""
    for pod in store.list(PODS)[0]:
        if pod["metadata"].get("deletionTimestamp"):
            store.delete(PODS, "default", pod["metadata"]["name"], grace_period_seconds=0)
            continue

        def ready(found: JsonObject) -> None:
            since = "2026-01-01T00:00:00Z"
            found["status"]["phase"] = "Running"
            found["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]

        store.modify(PODS, "default", pod["metadata"]["name"], ready, subresource="status")
