"""The Node's network stack as the rest of the program uses it: what is desired is there when a call returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from antrea_proxy.host.changes import KernelChanges, diff
from antrea_proxy.host.desired import PORTS_TABLE, TABLE, HostState
from antrea_proxy.host.errors import HostError, raise_all
from antrea_proxy.host.kube_proxy.presence import translates
from antrea_proxy.host.nftables import Table
from antrea_proxy.host.values import KernelState
from antrea_proxy.network.values import IPVS_DEVICE, REFUSAL_PORT

_PASSES = 3
"""Taking an address away can take others with it (secondary ones of its subnet), so a pass may need another."""


class KernelEffect(Protocol):
    """What `Netlink` offers of the Node's own stack."""

    async def read(self, *, interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
        """Return what is there."""

    async def apply(self, changes: KernelChanges) -> None:
        """Carry the changes out."""

    async def link_names(self) -> frozenset[str]:
        """Return the names of all links."""


class NftEffect(Protocol):
    """What `Nft` offers."""

    async def write(self, table: Table) -> bool:
        """Make the table hold this; say whether it had to change."""

    async def change(self, table: Table) -> bool:
        """Change elements of a table that was written, unseen; say whether that was possible."""

    async def chains(self) -> tuple[tuple[str, str, str], ...]:
        """Return family, table and name of every chain of everybody."""

    async def remove(self, family: str, name: str) -> None:
        """Remove a table."""

    async def shield(
        self, family: str, table: str, interfaces: Iterable[str], *, present: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Drop what the kernel sees of interfaces; return the new ones."""

    async def unshield(self, family: str, table: str, interface: str) -> None:
        """Undo it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What differed and was mended; true where anything did."""

    kernel: tuple[KernelChanges, ...]
    table: bool
    shielded_ports: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.kernel) or self.table or bool(self.shielded_ports)

    @property
    def summary(self) -> Mapping[str, object]:
        """What it was, in short, for the log."""
        return {"nft_table": self.table, "shielded": sorted(self.shielded_ports)}

    @property
    def details(self) -> str:
        """The changes of the kernel's state."""
        return repr(self.kernel)


class Host:
    """What is ours on the Node. It is read back at every call, and only what differs is changed.

    All methods raise HostError.
    """

    def __init__(self, kernel: KernelEffect, nft: NftEffect) -> None:
        self._kernel = kernel
        self._nft = nft

    async def apply(self, desired: HostState) -> Repair:
        """Make the Node hold `desired`, remove what else is ours, and say what had to change.

        Every part is tried, also when another fails. Interfaces of the switch must be there (InterfaceMissing).
        """
        problems: list[HostError] = []
        kernel: tuple[KernelChanges, ...] = ()
        table = False
        shielded: frozenset[str] = frozenset()
        try:
            table = await self._nft.write(desired.table)
        except HostError as error:
            problems.append(error)
        try:
            shielded = await self._shield(desired.shielded_ports)
        except HostError as error:
            problems.append(error)
        try:
            kernel = await self._apply_kernel(desired.kernel)
        except HostError as error:
            problems.append(error)
        raise_all(problems)
        return Repair(kernel=kernel, table=table, shielded_ports=shielded)

    async def change(self, before: HostState, after: HostState) -> bool:
        """Take the Node from `before`, which it is known to hold, to `after` without reading it back.

        Says whether that was possible; if not, or if it fails, `apply` must follow. Routes come before the elements
        that lead to them.
        """
        changes = diff(before.kernel, after.kernel)
        added = KernelChanges(routes_added=changes.routes_added, routes_replaced=changes.routes_replaced)
        removed = KernelChanges(routes_removed=changes.routes_removed)
        if before.shielded_ports != after.shielded_ports or changes != replace(
            added, routes_removed=removed.routes_removed
        ):
            return False
        if added:
            await self._kernel.apply(added)
        if not await self._nft.change(after.table):
            return False
        if removed:
            await self._kernel.apply(removed)
        return True

    async def beside_kube_proxy(self) -> bool:
        """Whether kube-proxy's rules, too, would translate what comes to Services.

        In its ipvs mode Services' addresses are the Node's own, and stay with it.
        """
        return IPVS_DEVICE not in await self._kernel.link_names() and await translates(self._nft)

    async def shield_port(self, interface: str) -> None:
        """Keep the kernel from taking in frames of a port that the userspace datapath reads; idempotent."""
        await self._nft.shield(*PORTS_TABLE, (interface,))

    async def unshield_port(self, interface: str) -> None:
        """Undo `shield_port`; idempotent, also where the interface is gone."""
        await self._nft.unshield(*PORTS_TABLE, interface)

    async def cleanup(self, gateway: str) -> None:
        """Remove everything of ours: tables, routes, neighbours, and the addresses of our interfaces.

        The interfaces themselves are the switch's. Forwarding stays on, as others may have come to need it.
        """
        for table in (TABLE, PORTS_TABLE):
            await self._nft.remove(*table)
        observed = await self._kernel.read(interfaces=frozenset({gateway, REFUSAL_PORT}), sysctls=frozenset())
        changes = diff(observed, KernelState())
        if changes:
            await self._kernel.apply(changes)

    async def _shield(self, ports: frozenset[str]) -> frozenset[str]:
        """Shields of interfaces that are not named stay: a Pod may be coming."""
        return await self._nft.shield(*PORTS_TABLE, ports, present=await self._kernel.link_names())

    async def _apply_kernel(self, desired: KernelState) -> tuple[KernelChanges, ...]:
        interfaces = frozenset(link.name for link in desired.links)
        sysctls = frozenset(item.key for item in desired.sysctls)
        done: list[KernelChanges] = []
        for _ in range(_PASSES):
            changes = diff(await self._kernel.read(interfaces=interfaces, sysctls=sysctls), desired)
            if not changes:
                return tuple(done)
            await self._kernel.apply(changes)
            done.append(changes)
        raise HostError(f"the Node's network stack does not stay as it is set: {done[-1]}")
