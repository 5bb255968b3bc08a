"""What healthCheckNodePorts answer follows what the switch holds, not what was wished."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec

from antrea_proxy.agent.health import HealthChecks
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from antrea_proxy.proxy.health_checks import HealthCheck
from antrea_proxy.proxy.selection import ServiceSelection
from worlds import endpoint_slice, service

WEB = NamespacedName("default", "web")


def test_an_endpoint_counts_when_the_switch_has_it_and_a_service_that_goes_is_forgotten() -> None:
    async def main() -> None:
        cluster = ClusterState()
        in_switch = asyncio.Event()
        published: list[Mapping[NamespacedName, HealthCheck]] = []

        async def settled() -> None:
            await in_switch.wait()

        checks = HealthChecks(
            cluster=cluster,
            node_name="node-1",
            selection=ServiceSelection(),
            settled=settled,
            publish=published.append,
        )
        task = asyncio.create_task(checks.run())
        local = service(
            "web", "10.96.0.1", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000
        )
        checks.mark(cluster.put_service(msgspec.convert(local, Service)))
        checks.mark(
            cluster.put_slices([msgspec.convert(endpoint_slice("web", ("10.10.1.1", "a", "node-1")), EndpointSlice)])
        )
        await asyncio.sleep(0.01)
        assert published == []
        in_switch.set()
        await asyncio.sleep(0.01)
        assert published == [{WEB: HealthCheck(service=WEB, port=32000, local_endpoints=1)}]
        checks.mark(cluster.remove_service(WEB))
        await asyncio.sleep(0.01)
        assert published[1:] == [{}]
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
