"""The probes of one running container: startup first, then readiness and liveness side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.kubelet.probes import Probe, ProbeFailed, RunCommand, check_once, watch

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerProbes:
    """What a container's probes look at and what they move; `run` until the container ends."""

    container: JsonObject
    netns: Path
    address: str
    run_command: RunCommand
    set_ready: Callable[[bool], None]
    kill: Callable[[], None]
    complain: Callable[[str], None]

    async def run(self) -> None:
        """Probe for ever; ends at once where there is nothing to probe."""
        if startup := self.container.get("startupProbe"):
            await self._start_up(Probe.from_json(startup))
            if not self.container.get("readinessProbe"):
                self.set_ready(True)
        async with asyncio.TaskGroup() as group:
            for field, changed in (("readinessProbe", self._readiness), ("livenessProbe", self._liveness)):
                if self.container.get(field):
                    group.create_task(watch(Probe.from_json(self.container[field]), self._check, changed))

    async def _start_up(self, probe: Probe) -> None:
        started = asyncio.Event()

        def changed(good: bool, why: str) -> None:  # noqa: FBT001 - the probe's answer
            if good:
                started.set()
            else:
                self.complain(f"Startup probe failed: {why}")
                self.kill()

        watching = asyncio.create_task(watch(probe, self._check, changed))
        try:
            await started.wait()
        finally:
            watching.cancel()

    def _readiness(self, good: bool, why: str) -> None:  # noqa: FBT001 - the probe's answer
        if not good:
            self.complain(f"Readiness probe failed: {why}")
        self.set_ready(good)

    def _liveness(self, good: bool, why: str) -> None:  # noqa: FBT001 - the probe's answer
        if not good:
            self.complain(f"Liveness probe failed: {why}")
            self.kill()

    async def _check(self, probe: Probe) -> None:
        ports = {port["name"]: port["containerPort"] for port in self.container.get("ports") or () if port.get("name")}
        try:
            await check_once(probe, netns=self.netns, address=self.address, ports=ports, run_command=self.run_command)
        except ProbeFailed:
            raise
        except LabError as error:
            raise ProbeFailed(str(error)) from error
