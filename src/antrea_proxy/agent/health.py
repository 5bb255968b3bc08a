"""Keeps what healthCheckNodePorts answer in step with what the switch holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from antrea_proxy.kubernetes.cluster import ClusterState, Dirty
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.health_checks import HealthCheck, health_check
from antrea_proxy.proxy.selection import ServiceSelection


class HealthChecks:
    """Decides anew for the Services that changed, once `settled` says that the switch has them.

    An endpoint counts from then on: a load balancer must not send to a Node that would not know what to do.
    `publish` is given all checks after each change.
    """

    def __init__(
        self,
        *,
        cluster: ClusterState,
        node_name: str,
        selection: ServiceSelection,
        settled: Callable[[], Awaitable[None]],
        publish: Callable[[Mapping[NamespacedName, HealthCheck]], None],
    ) -> None:
        self._cluster = cluster
        self._node_name = node_name
        self._selection = selection
        self._settled = settled
        self._publish = publish
        self._checks: dict[NamespacedName, HealthCheck] = {}
        self._dirty: frozenset[NamespacedName] = frozenset()
        self._woken = asyncio.Event()

    def mark(self, dirty: Dirty) -> None:
        """Note that these Services, or their endpoints, may have changed."""
        if dirty.services:
            self._dirty |= dirty.services
            self._woken.set()

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            names, self._dirty = self._dirty, frozenset()
            await self._settled()
            before = dict(self._checks)
            for name in names:
                found = health_check(self._cluster, name, node_name=self._node_name, selection=self._selection)
                if found is None:
                    self._checks.pop(name, None)
                else:
                    self._checks[name] = found
            if self._checks != before:
                self._publish(dict(self._checks))
