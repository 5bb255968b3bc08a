"""The container runtime's side of CNI: the plugin is run with the specification's environment and standard input.

Source: CNI specification 1.1.0, sections 2 (execution protocol) and 5 (result types). libcni keeps each attachment's
result and gives it back as prevResult; so does this.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.processes import Spawner

CNI_VERSION: Final = "1.1.0"
NETWORK: Final = "antrea"
PLUGIN: Final = "antrea-proxy-cni"
INTERFACE: Final = "eth0"
_AT_ONCE: Final = 4
_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What the runtime tells the plugin of a Pod."""

    container_id: str
    netns: Path
    namespace: str
    name: str
    uid: str

    @property
    def arguments(self) -> str:
        """CNI_ARGS as containerd and CRI-O write them."""
        return (
            f"IgnoreUnknown=1;K8S_POD_NAMESPACE={self.namespace};K8S_POD_NAME={self.name};"
            f"K8S_POD_INFRA_CONTAINER_ID={self.container_id};K8S_POD_UID={self.uid}"
        )


class CniRuntime:
    """Runs the plugin on one Node, a few at a time."""

    def __init__(self, *, spawner: Spawner, plugin: Path, node_netns: Path, cni_socket: Path) -> None:
        self._spawner = spawner
        self._plugin = plugin
        self._node_netns = node_netns
        self._configuration = {
            "cniVersion": CNI_VERSION,
            "name": NETWORK,
            "type": PLUGIN,
            "cniSocket": str(cni_socket),
        }
        self._results: dict[str, dict[str, Any]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._collecting = asyncio.Lock()

    async def add(self, sandbox: Sandbox) -> tuple[str, ...]:
        """Wire a Pod and give its addresses, IPv4 first.

        Raises LabError with the plugin's own message.
        """
        result = await self._run("ADD", self._configuration, sandbox)
        self._results[sandbox.container_id] = result
        addresses = [entry["address"].partition("/")[0] for entry in result.get("ips", [])]
        return tuple(sorted(addresses, key=lambda address: ":" in address))

    async def delete(self, sandbox: Sandbox) -> None:
        """Take a Pod's wiring away.

        Raises LabError with the plugin's own message.
        """
        await self._run("DEL", self._with_result(sandbox), sandbox)
        self._results.pop(sandbox.container_id, None)

    async def check(self, sandbox: Sandbox) -> None:
        """Ask whether a Pod is still wired as ADD left it.

        Raises LabError with the plugin's own message.
        """
        await self._run("CHECK", self._with_result(sandbox), sandbox)

    async def collect_garbage(self) -> None:
        """Name the attachments that are in use, so that what belongs to no other is released.

        Nothing else runs meanwhile: an attachment that is just being made would not be among those named.

        Raises LabError with the plugin's own message.
        """
        async with self._collecting, contextlib.AsyncExitStack() as turns:
            for _ in range(_AT_ONCE):
                await turns.enter_async_context(self._turns)
            valid = [{"containerID": container, "ifname": INTERFACE} for container in self._results]
            await self._execute("GC", {**self._configuration, "cni.dev/valid-attachments": valid}, None)

    async def ready(self) -> None:
        """Ask whether Pods can be wired now (STATUS).

        Raises LabError with the plugin's own message.
        """
        await self._run("STATUS", self._configuration, None)

    def _with_result(self, sandbox: Sandbox) -> dict[str, Any]:
        result = self._results.get(sandbox.container_id)
        return self._configuration if result is None else {**self._configuration, "prevResult": result}

    async def _run(self, command: str, configuration: Mapping[str, Any], sandbox: Sandbox | None) -> dict[str, Any]:
        async with self._turns:
            return await self._execute(command, configuration, sandbox)

    async def _execute(self, command: str, configuration: Mapping[str, Any], sandbox: Sandbox | None) -> dict[str, Any]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CNI_COMMAND": command,
            "CNI_PATH": str(self._plugin.parent),
        }
        if sandbox is not None:
            environment |= {
                "CNI_CONTAINERID": sandbox.container_id,
                "CNI_NETNS": str(sandbox.netns),
                "CNI_IFNAME": INTERFACE,
                "CNI_ARGS": sandbox.arguments,
            }
        done = await self._spawner.run(
            [str(self._plugin)],
            netns=self._node_netns,
            stdin=json.dumps(configuration).encode(),
            environment=environment,
            seconds=_SECONDS,
        )
        try:
            result = json.loads(done.stdout or b"{}")
        except ValueError:
            result = {}
        if done.status != 0 or not isinstance(result, dict):
            words = result.get("msg") if isinstance(result, dict) else None
            details = result.get("details") if isinstance(result, dict) else None
            last = words or done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
            raise LabError(f"CNI {command}: {last or f'exit status {done.status}'}{f' ({details})' if details else ''}")
        return result
