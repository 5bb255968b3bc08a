"""The Node's own network stack as the agent sees it, whatever its operating system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from antrea_proxy.host.services import HostServices
from antrea_proxy.network.values import Network


class Mended(Protocol):
    """What differed and was put right; true where anything did."""

    def __bool__(self) -> bool:
        """Say whether anything did."""

    @property
    def summary(self) -> Mapping[str, object]:
        """What it was, in short, for the log."""

    @property
    def details(self) -> str:
        """All of it, for whoever looks for a fault."""


class NodeStack(Protocol):
    """Takes the Node's part in a network and its Services. All methods raise HostError."""

    async def apply(self, network: Network, services: HostServices, *, userspace_datapath: bool) -> Mended:
        """Make the Node hold what these ask for, remove what else is ours, and say what had to change."""

    async def serve(self, services: HostServices) -> bool:
        """Change what Services need alone, without reading the Node back, and say whether that was all it took.

        If not, or if it fails, `apply` must follow.
        """

    async def cleanup(self, gateway: str) -> None:
        """Remove everything of ours."""
