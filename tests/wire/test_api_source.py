"""The source against the lab's API server: another program, over TLS, as the agent meets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.kubernetes.events import Added, Deleted, Event, Listed, Listing, Modified
from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES, NODES, SERVICES, AnyKind, KubernetesObject
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service
from antrea_proxy.sinks import EventText, Severity, create_event, patch_node_annotation
from antrea_proxy.sources import ApiClient, ApiServerSource, SourceStatus, cluster_access
from antrea_proxy.sources.client import Request

_PATIENCE_S = 20.0
_SERVICES = "/api/v1/namespaces/default/services"
_NODE = {"metadata": {"name": "node-1"}, "spec": {"podCIDR": "10.10.1.0/24", "podCIDRs": ["10.10.1.0/24"]}}


@dataclass(slots=True)
class LabServer:
    """A running API server of the lab, and whether lists are to be streamed."""

    kubeconfig: Path
    process: subprocess.Popen[str]
    streaming: bool


@pytest.fixture(params=[True, False], ids=["a list that a watch begins with", "a list and a watch"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LabServer]:
    """Run the lab's API server on a free port, until its first line says that it is ready."""
    kubeconfig = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "antrea_proxy.lab.api_server", "--port", "0", "--kubeconfig-out", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready")
            yield LabServer(kubeconfig=kubeconfig, process=process, streaming=request.param)
        finally:
            process.kill()


@dataclass(slots=True)
class Cluster:
    """A client of the server, and the events of the kinds that are followed, one after the other."""

    client: ApiClient
    streaming: bool
    events: asyncio.Queue[Event[KubernetesObject]] = field(default_factory=asyncio.Queue)
    statuses: asyncio.Queue[SourceStatus] = field(default_factory=asyncio.Queue)

    async def write(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Send a request of the user's."""
        data = None if body is None else json.dumps(body).encode()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = await self.client.fetch(Request(method=method, path=path, body=data, content_type=kind))
        answered: dict[str, Any] = json.loads(answer)
        return answered

    async def follow(self, kind: AnyKind) -> None:
        """Put a kind's events into the queue, for ever."""
        source = ApiServerSource(
            client=self.client,
            on_status=self.statuses.put_nowait,
            first_backoff_s=0.05,
            streaming_lists=self.streaming,
        )
        async with contextlib.aclosing(source.watch(kind)) as watch:
            async for batch in watch:
                for event in batch:
                    self.events.put_nowait(event)


@contextlib.asynccontextmanager
async def _followed(server: LabServer, kinds: tuple[AnyKind, ...]) -> AsyncIterator[Cluster]:
    async with asyncio.timeout(_PATIENCE_S), ApiClient(cluster_access(server.kubeconfig, {})) as client:
        cluster = Cluster(client=client, streaming=server.streaming)
        following = [asyncio.create_task(cluster.follow(kind)) for kind in kinds]
        try:
            yield cluster
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)


def play(server: LabServer, story: Callable[[Cluster], Awaitable[None]], *kinds: AnyKind) -> None:
    """Play a story while the kinds are followed."""

    async def run() -> None:
        async with _followed(server, kinds) as cluster:
            await story(cluster)

    asyncio.run(run())


def _a_service(port: int) -> dict[str, Any]:
    return {"metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": port}]}}


def test_a_service_is_seen_as_it_is_made_changed_and_deleted(server: LabServer) -> None:
    """Each change is one event, with the object as it is then."""

    async def story(cluster: Cluster) -> None:
        listed = await cluster.events.get()
        assert isinstance(listed, Listed)
        await cluster.write("POST", _SERVICES, _a_service(80))
        added = await cluster.events.get()
        assert isinstance(added, Added)
        assert isinstance(added.object, Service)
        assert added.object.spec.cluster_ip == "10.96.0.10"
        await cluster.write("PATCH", f"{_SERVICES}/web", {"spec": {"ports": [{"port": 81}]}})
        modified = await cluster.events.get()
        assert isinstance(modified, Modified)
        assert isinstance(modified.object, Service)
        assert [port.port for port in modified.object.spec.ports] == [81]
        await cluster.write("DELETE", f"{_SERVICES}/web")
        deleted = await cluster.events.get()
        assert isinstance(deleted, Deleted)
        assert str(deleted.name) == "default/web"

    play(server, story, SERVICES)


def test_what_was_there_before_is_in_the_list(server: LabServer) -> None:
    """Of each kind, with the fields that the proxy reads."""

    async def prepare(cluster: Cluster) -> None:
        await cluster.write("POST", "/api/v1/nodes", _NODE)
        endpoint = {"addresses": ["10.10.1.5"], "conditions": {"ready": True}, "nodeName": "node-1"}
        slice_ = {
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [{"name": "", "port": 8080}],
        }
        await cluster.write("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)

    async def story(cluster: Cluster) -> None:
        objects: list[KubernetesObject] = []
        whole = 0
        while whole < 2:
            event = await cluster.events.get()
            assert isinstance(event, Listing | Listed)
            objects += event.objects
            whole += isinstance(event, Listed)
            assert isinstance(event, Listing) == (server.streaming and bool(event.objects))
        (slice_,) = (item for item in objects if isinstance(item, EndpointSlice))
        assert slice_.endpoints is not None
        assert slice_.endpoints[0].addresses == ("10.10.1.5",)
        (node,) = (item for item in objects if isinstance(item, Node))
        assert node.spec.pod_cidrs == ("10.10.1.0/24",)

    play(server, prepare)
    play(server, story, ENDPOINT_SLICES, NODES)


def test_an_annotation_and_an_event_arrive(server: LabServer) -> None:
    """The annotation comes back through the watch, the Event can be read."""

    async def story(cluster: Cluster) -> None:
        await cluster.events.get()
        await cluster.write("POST", "/api/v1/nodes", _NODE)
        await cluster.events.get()
        await patch_node_annotation(cluster.client, "node-1", "node.antrea.io/transport-addresses", "192.0.2.1")
        modified = await cluster.events.get()
        assert isinstance(modified, Modified)
        assert modified.object.metadata.annotations.transport_addresses == "192.0.2.1"
        text = EventText(severity=Severity.WARNING, reason="Tested", message="this is a test")
        await create_event(cluster.client, NODES, modified.object, text, node="node-1")
        events = await cluster.write("GET", "/api/v1/namespaces/default/events")
        assert [item["reason"] for item in events["items"]] == ["Tested"]

    play(server, story, NODES)


def test_a_server_that_is_killed_is_told_and_nothing_is_taken_for_deleted(server: LabServer) -> None:
    """The consumer keeps what it knows."""

    async def story(cluster: Cluster) -> None:
        await cluster.events.get()
        await cluster.write("POST", _SERVICES, _a_service(80))
        await cluster.events.get()
        server.process.kill()
        while True:
            status = await cluster.statuses.get()
            if status.last_error:
                break
        assert status.connected_since is None
        assert status.lists == 1
        assert cluster.events.empty()

    play(server, story, SERVICES)
