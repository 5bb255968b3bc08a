"""Which addresses of a Node's podCIDR are given, and which comes next. Pure."""

from __future__ import annotations

from ipaddress import ip_interface

from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.network.values import IPAddress, IPInterface, IPNetwork


class AddressesExhaustedError(CniError):
    """Every address of a CIDR is given."""

    def __init__(self, network: IPNetwork, given: int) -> None:
        super().__init__(
            ErrorCode.ADDRESSES_EXHAUSTED,
            f"no address is left in podCIDR {network}: all {given} are given; "
            "remove Pods from this Node, or give it a larger podCIDR",
        )


def gateway_of(network: IPNetwork) -> IPAddress:
    """Return the address of the Node's own gateway: the first after the network's."""
    return network[0] + 1


class AddressRange:
    """One podCIDR. The next address is the first free one after the last given, so that none is given again soon.

    The network's address, the gateway (the first after it) and, of IPv4, the broadcast address are never given.
    """

    def __init__(self, network: IPNetwork) -> None:
        self.network = network
        self._first = int(network.network_address) + 2
        self._last = int(network.broadcast_address) - (1 if network.version == 4 else 0)  # noqa: PLR2004 -- IPv6 has no broadcast
        self._given: set[int] = set()
        self.previous = self._first - 1
        """The last address given, as a number; one before the first when none was."""

    @property
    def size(self) -> int:
        """How many addresses can be given in all."""
        return max(0, self._last - self._first + 1)

    def take(self) -> IPInterface:
        """Give the next free address, with the prefix length of the range.

        Raises AddressesExhaustedError.
        """
        if len(self._given) >= self.size:
            raise AddressesExhaustedError(self.network, self.size)
        candidate = self.previous
        while True:
            candidate = candidate + 1 if self._first <= candidate + 1 <= self._last else self._first
            if candidate not in self._given:
                break
        self._given.add(candidate)
        self.previous = candidate
        return ip_interface((self.network[0] + (candidate - int(self.network[0])), self.network.prefixlen))

    def reserve(self, address: IPAddress) -> None:
        """Mark an address that is in use already; one outside of the range changes nothing."""
        if self.contains(address):
            self._given.add(int(address))

    def give_back(self, address: IPAddress) -> None:
        """Make an address free again; giving back a free one changes nothing."""
        if address.version == self.network.version:
            self._given.discard(int(address))

    def contains(self, address: IPAddress) -> bool:
        """Whether the range could have given this address."""
        return address.version == self.network.version and self._first <= int(address) <= self._last

    def continue_after(self, address: IPAddress) -> None:
        """Go on after this address, the last one that an earlier run gave."""
        if self.contains(address):
            self.previous = int(address)

    @property
    def previous_address(self) -> IPAddress | None:
        """The last address given, or None."""
        if not self._first <= self.previous <= self._last:
            return None
        return self.network[self.previous - int(self.network[0])]
