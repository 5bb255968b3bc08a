"""Addresses for Pods from the Node's podCIDRs, kept across restarts.

The file is also the record of what an ADD is about to make: it names the interface before it exists, so that a crash
between two steps leaves nothing that a restart cannot find and remove.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from types import MappingProxyType

import msgspec

from antrea_proxy.cni.address_ranges import AddressRange
from antrea_proxy.cni.concurrency import uninterrupted
from antrea_proxy.cni.errors import TryAgainLaterError
from antrea_proxy.cni.protocol import AttachmentKey
from antrea_proxy.cni.state_file import StateFileError, StateStore
from antrea_proxy.network.values import IPAddress, IPInterface, IPNetwork


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Addresses given to an attachment; `host_interface` is the Node's end of its veth pair."""

    key: AttachmentKey
    host_interface: str
    addresses: tuple[IPInterface, ...]


class _LeaseRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    container: str
    interface: str
    host_interface: str
    addresses: tuple[str, ...]


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    previous: dict[str, str]
    leases: tuple[_LeaseRecord, ...]


_STATE_VERSION = 1


class AddressPool:
    """The leases of a Node. Ranges may arrive later than Pods: until then `allocate` asks to try again.

    One owner calls it, on one event loop; two allocations of one key at a time are its mistake.
    """

    def __init__(self, store: StateStore, *, cidrs: Sequence[IPNetwork] = ()) -> None:
        self._store = store
        self._ranges: dict[IPNetwork, AddressRange] = {}
        self._previous: dict[str, str] = {}
        self._leases: dict[AttachmentKey, Lease] = {}
        self._saving = asyncio.Lock()
        self._changes = 0
        self._saved = 0
        self.set_cidrs(cidrs)

    @property
    def cidrs(self) -> tuple[IPNetwork, ...]:
        """The podCIDRs from which addresses are given, in the Node's order."""
        return tuple(self._ranges)

    @property
    def leases(self) -> Mapping[AttachmentKey, Lease]:
        """What is given at present."""
        return MappingProxyType(self._leases)

    def set_cidrs(self, cidrs: Sequence[IPNetwork]) -> None:
        """Give addresses from these podCIDRs from now on; what was given before stays given.

        Raises ValueError for two of one family (NodeSpec.podCIDRs has at most one of each).
        """
        if len({cidr.version for cidr in cidrs}) != len(cidrs):
            raise ValueError(f"podCIDRs {', '.join(map(str, cidrs))}: at most one of each IP family")
        if tuple(cidrs) == self.cidrs:
            return
        self._remember_previous()
        self._ranges = {cidr: AddressRange(cidr) for cidr in cidrs}
        for network, addresses in self._ranges.items():
            if str(network) in self._previous:
                addresses.continue_after(ip_address(self._previous[str(network)]))
        for lease in self._leases.values():
            self._reserve(lease)

    def load(self) -> str | None:
        """Read what an earlier run saved; call it once, before all else.

        Malformed state is moved aside, and the message that says so is returned: the caller rebuilds it from the
        switch's ports. Raises StateFileError when the file cannot be read.
        """
        text = self._store.load()
        if text is None:
            return None
        try:
            previous, leases = _decode(text)
        except (ValueError, msgspec.MsgspecError) as error:
            aside = self._store.set_aside()
            return f"the address state is malformed ({error}); moved to {aside}, rebuilt from the switch's ports"
        self._previous = previous
        for network, addresses in self._ranges.items():
            if str(network) in previous:
                addresses.continue_after(ip_address(previous[str(network)]))
        for lease in leases:
            self._hold(lease)
        return None

    async def allocate(self, key: AttachmentKey, host_interface: str) -> Lease:
        """Give one address of each podCIDR; when it returns, the lease is on the disk.

        Raises TryAgainLaterError without a podCIDR, AddressesExhaustedError, or StateFileError; then nothing was given.
        """
        if key in self._leases:
            raise ValueError(f"{key} has addresses already")
        if not self._ranges:
            raise TryAgainLaterError("this Node has no podCIDR yet; the control plane gives it one")
        taken: list[IPInterface] = []
        lease = None
        try:
            taken.extend(each.take() for each in self._ranges.values())
            lease = Lease(key=key, host_interface=host_interface, addresses=tuple(taken))
            self._leases[key] = lease
            await self._save()
        except BaseException:
            if lease is not None and self._leases.get(key) is lease:
                del self._leases[key]
            self._give_back(taken)
            raise
        return lease

    async def release(self, key: AttachmentKey) -> None:
        """Take the addresses back; a key without any changes nothing.

        A disk that is full does not hold a Pod's removal up: the change is saved later (see `save_rest`), and a restart
        before that frees whatever has no port any more.
        """
        lease = self._leases.pop(key, None)
        if lease is None:
            return
        self._give_back(lease.addresses)
        try:
            await self._save()
        except StateFileError:
            return

    async def replace(self, leases: Iterable[Lease]) -> None:
        """Let these be all the leases there are.

        Raises ValueError, naming both holders, when two claim one address, and StateFileError.
        """
        wanted = tuple(leases)
        holders: dict[IPAddress, AttachmentKey] = {}
        for lease in wanted:
            for address in lease.addresses:
                other = holders.setdefault(address.ip, lease.key)
                if other != lease.key:
                    raise ValueError(f"{address.ip} is held by both {other} and {lease.key}")
        if {lease.key: lease for lease in wanted} == self._leases:
            return
        for lease in self._leases.values():
            self._give_back(lease.addresses)
        self._leases.clear()
        for lease in wanted:
            self._hold(lease)
        await self._save()

    async def save_rest(self) -> None:
        """Save what could not be saved before.

        Raises StateFileError while it still cannot.
        """
        if self._saved < self._changes:
            await self._save()

    def _hold(self, lease: Lease) -> None:
        self._leases[lease.key] = lease
        self._reserve(lease)

    def _reserve(self, lease: Lease) -> None:
        for address in lease.addresses:
            for each in self._ranges.values():
                each.reserve(address.ip)

    def _give_back(self, addresses: Iterable[IPInterface]) -> None:
        for address in addresses:
            for each in self._ranges.values():
                each.give_back(address.ip)

    def _remember_previous(self) -> None:
        for network, addresses in self._ranges.items():
            if addresses.previous_address is not None:
                self._previous[str(network)] = str(addresses.previous_address)

    def _encode(self) -> bytes:
        self._remember_previous()
        records = tuple(
            _LeaseRecord(
                lease.key.container_id, lease.key.interface, lease.host_interface, tuple(map(str, lease.addresses))
            )
            for lease in self._leases.values()
        )
        return msgspec.json.encode(_State(_STATE_VERSION, self._previous, records))

    async def _save(self) -> None:
        """Write the present state; calls that arrive meanwhile share the next write."""
        self._changes += 1
        change = self._changes
        async with self._saving:
            if self._saved >= change:
                return
            newest = self._changes
            # A thread cannot be stopped, and two must not write at once.
            await uninterrupted(asyncio.to_thread(self._store.save, self._encode()))
            self._saved = newest


def _decode(text: bytes) -> tuple[dict[str, str], list[Lease]]:
    state = msgspec.json.decode(text, type=_State)
    if state.version != _STATE_VERSION:
        raise ValueError(f"version {state.version}, not {_STATE_VERSION}")
    previous = {str(ip_network(network)): str(ip_address(address)) for network, address in state.previous.items()}
    return previous, [_lease(record) for record in state.leases]


def _lease(record: _LeaseRecord) -> Lease:
    return Lease(
        key=AttachmentKey(record.container, record.interface),
        host_interface=record.host_interface,
        addresses=tuple(map(ip_interface, record.addresses)),
    )
