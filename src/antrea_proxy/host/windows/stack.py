"""The Node's stack under Windows, by PowerShell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from antrea_proxy.host.services import HostServices
from antrea_proxy.host.windows.desired import WindowsState, desired_windows
from antrea_proxy.host.windows.powershell import first_steps, removal, steps
from antrea_proxy.network.values import Network

Run = Callable[[tuple[str, ...]], Awaitable[None]]
"""Runs steps in their order, and stops at the first that fails. Raises HostError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The steps that were run, and what Windows cannot do of what was asked for."""

    steps: tuple[str, ...]
    left_out: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.steps or self.left_out)

    @property
    def summary(self) -> Mapping[str, object]:
        """How many steps, and what was left out, for the log."""
        return {"steps": len(self.steps), "left_out": list(self.left_out)}

    @property
    def details(self) -> str:
        """The steps."""
        return "\n".join(self.steps)


class WindowsStack:
    """A NodeStack (host.stack). There is no userspace datapath under Windows."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._network: Network | None = None
        self._held: WindowsState | None = None

    async def apply(self, network: Network, services: HostServices, *, userspace_datapath: bool) -> Taken:  # noqa: ARG002
        """Make the Node hold what these ask for, whatever it holds, and say what was done."""
        self._network, self._held = network, None
        wanted = desired_windows(network, services)
        taken = Taken(steps=first_steps(wanted), left_out=wanted.left_out)
        await self._run(taken.steps)
        self._held = wanted
        return taken

    async def serve(self, services: HostServices) -> bool:
        """Change what Services need alone; say whether that was possible."""
        if self._network is None or self._held is None:
            return False
        held, self._held = self._held, None
        wanted = desired_windows(self._network, services)
        await self._run(steps(held, wanted))
        self._held = wanted
        return True

    async def cleanup(self, gateway: str) -> None:
        """Remove everything of ours."""
        self._held = None
        await self._run(removal(gateway))
