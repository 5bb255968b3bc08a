"""What everything that speaks rtnetlink through pyroute2 shares.

A blocking library: its callers run in a thread, on a socket of their own each time (opening one takes 1 ms).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv6Interface, ip_interface
from typing import Any, Final, TypeVar

from pyroute2 import IPRoute, NetlinkError

from antrea_proxy.host.errors import InterfaceMissing, KernelRefused
from antrea_proxy.host.values import Address, Link
from antrea_proxy.network.values import IPInterface

_NODAD = 0x02  # IFA_F_NODAD, linux/if_addr.h: the address is usable at once, as its owner is known
_UP = 0x1  # IFF_UP, linux/if.h
GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL})
"""What the kernel says of something that is not there."""

FAMILY: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
DEFAULT_ROUTE: Final = {4: "0.0.0.0/0", 6: "::/0"}

Result = TypeVar("Result")


class OneAtATime:
    """Runs blocking work in threads, one after the other."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Give what the work gives, and raise what it raises."""
        async with self._lock:
            return await asyncio.to_thread(work)


@contextlib.contextmanager
def refusals(what: object) -> Iterator[None]:
    """Translate the kernel's refusal of `what`."""
    try:
        yield
    except NetlinkError as error:
        raise KernelRefused(f"{what}: {os.strerror(error.code)}") from error
    except OSError as error:
        raise KernelRefused(f"{what}: {error.strerror or error}") from error


@contextlib.contextmanager
def absent_is_fine() -> Iterator[None]:
    """Pass over that something is not there."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in GONE:
            raise


def index_of(ipr: IPRoute, name: str) -> int:
    """Return the number of a link. Raises InterfaceMissing."""
    found = ipr.link_lookup(ifname=name)
    if not found:
        raise InterfaceMissing(f"interface {name} does not exist; the switch makes it (ovs-vsctl show)")
    return int(found[0])


def link_of(message: Any) -> Link:  # noqa: ANN401 - pyroute2 has no types
    """Read a link."""
    return Link(
        name=str(message.get("ifname")),
        mac=str(message.get("address")),
        mtu=int(message.get("mtu")),
        up=bool(message["flags"] & _UP),
    )


def interface_address(message: Any) -> IPInterface:  # noqa: ANN401 - pyroute2 has no types
    """IFA_LOCAL is the address itself where IFA_ADDRESS is the other end of a point-to-point link."""
    return ip_interface(f"{message.get('local') or message.get('address')}/{message['prefixlen']}")


def prefixlen(address: IPInterface) -> int:
    """Return the length of an address' network part in bits."""
    return int(address.network.prefixlen)


def add_address(ipr: IPRoute, index: int, item: Address) -> None:
    """Give an address to the link of this number. Raises KernelRefused."""
    with refusals(f"address {item.address} of {item.interface}"):
        flags = {"flags": _NODAD} if isinstance(item.address, IPv6Interface) else {}
        ipr.addr("replace", index=index, address=str(item.address.ip), prefixlen=prefixlen(item.address), **flags)


def link_exists(name: str) -> bool:
    """Whether there is a link of this name."""
    with refusals(f"looking for interface {name}"), IPRoute() as ipr:
        return bool(ipr.link_lookup(ifname=name))


def delete_link(name: str) -> None:
    """Remove a link; one that is absent is no error."""
    with refusals(f"removal of interface {name}"), IPRoute() as ipr:
        for index in ipr.link_lookup(ifname=name):
            with absent_is_fine():
                ipr.link("del", index=index)
