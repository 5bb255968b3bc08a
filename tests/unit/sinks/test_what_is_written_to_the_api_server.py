"""Annotations and Events, as the API server receives them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from antrea_proxy.kubernetes.kinds import NODES, SERVICES
from antrea_proxy.kubernetes.objects import Node, ObjectMeta, Service
from antrea_proxy.sinks import EventText, Severity, create_event, patch_node_annotation
from antrea_proxy.sources import ApiClient, RefusedError, cluster_access
from scripted_api_server import ScriptedApiServer, Step, answer, scripted


def write(path: Path, step: Step, act: Callable[[ApiClient], Awaitable[None]]) -> ScriptedApiServer:
    """Do something with a client of a scripted server."""

    async def run() -> ScriptedApiServer:
        async with scripted(step) as server, asyncio.timeout(20):
            async with ApiClient(cluster_access(server.kubeconfig(path / "kubeconfig"), {})) as client:
                await act(client)
            return server

    return asyncio.run(run())


@pytest.mark.parametrize("value", ["192.0.2.1,fd00::1", None])
def test_one_annotation_of_a_node_is_set_or_removed_and_no_other_touched(tmp_path: Path, value: str | None) -> None:
    """By a merge patch, which names that annotation alone."""
    key = "node.antrea.io/transport-addresses"
    server = write(tmp_path, answer(200, {}), lambda client: patch_node_annotation(client, "node-1", key, value))
    assert server.paths == ["PATCH /api/v1/nodes/node-1"]
    assert server.headers[0]["Content-Type"] == "application/merge-patch+json"
    assert server.bodies == [{"metadata": {"annotations": {key: value}}}]


def test_a_name_cannot_lead_to_another_object(tmp_path: Path) -> None:
    """It is quoted into the path."""
    server = write(tmp_path, answer(200, {}), lambda client: patch_node_annotation(client, "../services/x", "a", "b"))
    assert server.paths == ["PATCH /api/v1/nodes/..%2Fservices%2Fx"]


def test_an_event_is_about_its_object_and_from_this_node(tmp_path: Path) -> None:
    """As `kubectl describe service` looks for it: by kind, namespace, name and uid."""
    service = Service(metadata=ObjectMeta(name="web", namespace="shop", uid="u-1", resource_version="7"))
    text = EventText(severity=Severity.WARNING, reason="AddressConflict", message="x" * 2000)
    server = write(
        tmp_path, answer(201, {}), lambda client: create_event(client, SERVICES, service, text, node="node-1")
    )
    assert server.paths == ["POST /api/v1/namespaces/shop/events"]
    (body,) = server.bodies
    assert body["metadata"]["name"].startswith("web.")
    assert body["metadata"]["namespace"] == "shop"
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Service",
        "namespace": "shop",
        "name": "web",
        "uid": "u-1",
        "resourceVersion": "7",
    }
    assert (body["type"], body["reason"], len(body["message"])) == ("Warning", "AddressConflict", 1024)
    assert body["source"] == {"component": "antrea-proxy", "host": "node-1"}
    assert body["firstTimestamp"] == body["lastTimestamp"]


def test_an_event_about_a_node_is_in_the_namespace_default(tmp_path: Path) -> None:
    """Where kubectl looks for it; a long name leaves room for the Event's own."""
    node = Node(metadata=ObjectMeta(name="n" * 253))
    text = EventText(severity=Severity.NORMAL, reason="Started", message="the agent runs")
    server = write(tmp_path, answer(201, {}), lambda client: create_event(client, NODES, node, text, node="node-1"))
    assert server.paths == ["POST /api/v1/namespaces/default/events"]
    assert len(server.bodies[0]["metadata"]["name"]) == 253


def test_without_the_right_to_write_the_refusal_is_the_callers_to_tell(tmp_path: Path) -> None:
    """It is not swallowed."""
    with pytest.raises(RefusedError, match="add to a ClusterRole") as caught:
        write(tmp_path, answer(403, {}), lambda client: patch_node_annotation(client, "node-1", "a", "b"))
    assert caught.value.code == 403
