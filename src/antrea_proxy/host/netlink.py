"""Speaks rtnetlink through pyroute2, of which this is the only importer.

A blocking library: every method runs in a thread, one at a time, on a socket of its own (opening one takes 1 ms). A
thread that has entered a Pod's network namespace ends there, and never runs anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Interface, ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from pyroute2 import IPRoute, NetlinkError, netns

from antrea_proxy.host.changes import KernelChanges
from antrea_proxy.host.errors import (
    HostError,
    InterfaceMissing,
    KernelRefused,
    NamespaceMissing,
    RoutesTaken,
    raise_all,
)
from antrea_proxy.host.facts import FoundRoute
from antrea_proxy.host.offload import disable_tx_checksum_offload
from antrea_proxy.host.sysctls import read_sysctls, write_sysctl
from antrea_proxy.host.values import (
    MAIN_TABLE,
    PROTOCOL,
    RETURN_MARK,
    RETURN_PRIORITY,
    RETURN_TABLE,
    Address,
    KernelState,
    Link,
    Neighbour,
    Route,
    Rule,
    Sysctl,
)
from antrea_proxy.network.values import IPAddress, IPInterface, Uplink

_NODAD = 0x02  # IFA_F_NODAD, linux/if_addr.h: the address is usable at once, as its owner is known
_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h
_UP = 0x1  # IFF_UP, linux/if.h
_LOOPBACK = 0x8  # IFF_LOOPBACK
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL})
_DEFAULT_ROUTE = {4: "0.0.0.0/0", 6: "::/0"}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInterfaceState:
    """A Pod's end of its veth pair as the kernel has it. `gateways` are the next hops of its default routes."""

    mac: str
    mtu: int
    up: bool
    addresses: tuple[IPInterface, ...]
    gateways: tuple[IPAddress, ...]


class Netlink:
    """The Node's network stack, and Pods' namespaces. All methods raise HostError."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def read(self, *, interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
        """Return what these interfaces and settings are like, and every route that is ours.

        Link-local addresses are the kernel's own and left out, as is what is not there.
        """
        return await self._in_thread(lambda: _read(interfaces, sysctls))

    async def apply(self, changes: KernelChanges) -> None:
        """Carry out every change that can be; then raise HostError naming those that could not.

        Raises InterfaceMissing, before anything is changed, when a link is not there.
        """
        await self._in_thread(lambda: _apply(changes))

    async def uplinks(self, ours: frozenset[str] = frozenset()) -> tuple[Uplink, ...]:
        """Return the Node's interfaces that have a global address, without loopback and those named."""
        return await self._in_thread(lambda: _uplinks(ours))

    async def link_names(self) -> frozenset[str]:
        """Return the names of all links of the Node."""
        return await self._in_thread(_link_names)

    async def mtus(self) -> dict[str, int]:
        """Return the MTU in bytes of every link of the Node."""
        return await self._in_thread(_mtus)

    async def next_hop_routes(self) -> tuple[FoundRoute, ...]:
        """Return the routes of everybody in the main table that have a next hop, without default routes."""
        return await self._in_thread(_next_hop_routes)

    async def link_exists(self, name: str) -> bool:
        """Whether the Node has a link of this name."""
        return await self._in_thread(lambda: _link_exists(name))

    async def delete_link(self, name: str) -> None:
        """Remove a link of the Node; one that is absent is no error. A veth's other end goes with it."""
        await self._in_thread(lambda: _delete_link(name))

    async def create_pod_veth(
        self,
        *,
        netns: str,
        pod_interface: str,
        host_interface: str,
        mac: str,
        mtu: int,
        addresses: Sequence[IPInterface],
        gateways: Sequence[IPAddress],
        checksum_offload: bool,
    ) -> None:
        """Make a veth pair from the Node into the Pod's namespace, up at both ends; or nothing.

        `netns` is a path such as /var/run/netns/NAME. The Pod's end gets `mac`, the addresses and a default route
        through each gateway; `mtu` in bytes is that of both ends. Without `checksum_offload` the Pod's kernel writes
        checksums, which the userspace datapath needs.
        Raises NamespaceMissing, KernelRefused when one of the names is taken.
        """
        pod = _PodEnd(
            netns=netns,
            interface=pod_interface,
            mac=mac,
            mtu=mtu,
            addresses=tuple(addresses),
            gateways=tuple(gateways),
            checksum_offload=checksum_offload,
        )
        await self._in_thread(lambda: _create_pod_veth(pod, host_interface))

    async def pod_interface_state(self, netns: str, interface: str) -> PodInterfaceState | None:
        """Return what the Pod's interface is like, or None where it or the namespace is gone."""
        try:
            return await self._in_thread(lambda: _in_namespace(netns, lambda: _pod_interface_state(interface)))
        except NamespaceMissing:
            return None

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        async with self._lock:
            return await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PodEnd:
    netns: str
    interface: str
    mac: str
    mtu: int
    addresses: tuple[IPInterface, ...]
    gateways: tuple[IPAddress, ...]
    checksum_offload: bool


@contextlib.contextmanager
def _refusals(what: object) -> Iterator[None]:
    """Translate the kernel's refusal of `what`."""
    try:
        yield
    except NetlinkError as error:
        raise KernelRefused(f"{what}: {os.strerror(error.code)}") from error
    except OSError as error:
        raise KernelRefused(f"{what}: {error.strerror or error}") from error


def _in_namespace(path: str, work: Callable[[], Result]) -> Result:
    """Run `work` in a thread that has entered the namespace."""
    results: list[Result] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            try:
                netns.setns(path, flags=os.O_RDONLY)
            except OSError as error:
                raise NamespaceMissing(f"network namespace {path}: {error.strerror}") from error
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=run, name=f"in {path}", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _index(ipr: IPRoute, name: str) -> int:
    found = ipr.link_lookup(ifname=name)
    if not found:
        raise InterfaceMissing(f"interface {name} does not exist; the switch makes it (ovs-vsctl show)")
    return int(found[0])


def _read(interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
    with _refusals("reading the Node's network stack"), IPRoute(strict_check=True) as ipr:
        links = {message["index"]: message for message in ipr.get_links() if message.get("ifname") in interfaces}
        ours = {index: str(message.get("ifname")) for index, message in links.items()}
        return KernelState(
            links=frozenset(map(_link, links.values())),
            addresses=frozenset(
                Address(interface=ours[message["index"]], address=address)
                for message in ipr.get_addr()
                if message["index"] in ours and not (address := _interface_address(message)).ip.is_link_local
            ),
            neighbours=frozenset(_neighbours(ipr, ours)),
            routes=frozenset(_routes(ipr, ours)),
            rules=frozenset(_rules(ipr)),
            sysctls=read_sysctls(sysctls),
        )


def _link(message: Any) -> Link:  # noqa: ANN401 - pyroute2 has no types
    return Link(
        name=str(message.get("ifname")),
        mac=str(message.get("address")),
        mtu=int(message.get("mtu")),
        up=bool(message["flags"] & _UP),
    )


def _interface_address(message: Any) -> IPInterface:  # noqa: ANN401 - pyroute2 has no types
    """IFA_LOCAL is the address itself where IFA_ADDRESS is the other end of a point-to-point link."""
    return ip_interface(f"{message.get('local') or message.get('address')}/{message['prefixlen']}")


def _neighbours(ipr: IPRoute, ours: dict[int, str]) -> Iterator[Neighbour]:
    for family in _FAMILY.values():
        for message in ipr.get_neighbours(family=family):
            if message.get("protocol") == PROTOCOL and message["ifindex"] in ours:
                yield Neighbour(
                    interface=ours[message["ifindex"]],
                    address=ip_address(message.get("dst")),
                    # One that is no longer permanent is not what we set, and so has no MAC of ours.
                    mac=str(message.get("lladdr")) if message["state"] & _PERMANENT else "",
                )


def _routes(ipr: IPRoute, ours: dict[int, str]) -> Iterator[Route]:
    for (version, family), table in itertools.product(_FAMILY.items(), (MAIN_TABLE, RETURN_TABLE)):
        for message in _in_table(ipr, family, table):
            if message["proto"] == PROTOCOL and message.get("gateway"):
                destination = f"{message.get('dst')}/{message['dst_len']}" if message["dst_len"] else None
                yield Route(
                    destination=ip_network(destination or _DEFAULT_ROUTE[version]),
                    via=ip_address(message.get("gateway")),
                    interface=ours.get(message.get("oif")),
                    table=table,
                )


def _in_table(ipr: IPRoute, family: int, table: int) -> list[Any]:
    """The kernel makes a table with its first route (ENOENT until then)."""
    try:
        return list(ipr.get_routes(family=family, proto=PROTOCOL, table=table))
    except NetlinkError as error:
        if error.code not in _GONE:
            raise
        return []


def _rules(ipr: IPRoute) -> Iterator[Rule]:
    """A rule of ours that is not as it must be is not told of: it is made anew beside it."""
    ours = {
        "FRA_PROTOCOL": PROTOCOL,
        "FRA_FWMARK": RETURN_MARK,
        "FRA_FWMASK": RETURN_MARK,
        "FRA_TABLE": RETURN_TABLE,
        "FRA_PRIORITY": RETURN_PRIORITY,
    }
    for version, family in _FAMILY.items():
        for message in ipr.get_rules(family=family):
            if all(message.get_attr(key) == value for key, value in ours.items()):
                yield Rule(version=version)


def _apply(changes: KernelChanges) -> None:
    problems: list[HostError] = []

    def each(items: Sequence[Result], change: Callable[[Result], None]) -> None:
        for item in items:
            try:
                change(item)
            except HostError as error:
                problems.append(error)

    with _refusals("opening a netlink socket"), IPRoute() as ipr:
        index = functools.cache(lambda name: _index(ipr, name))
        for link in changes.links:
            index(link.name)
        each(changes.sysctls, write_sysctl)
        each(changes.links, lambda item: _set_link(ipr, index(item.name), item))
        each(changes.addresses_added, lambda item: _add_address(ipr, index(item.interface), item))
        each(changes.neighbours_set, lambda item: _set_neighbour(ipr, index(item.interface), item))
        each(changes.routes_added, lambda item: _set_route(ipr, "add", item, index))
        each(changes.routes_replaced, lambda item: _set_route(ipr, "replace", item, index))
        each(changes.rules_added, lambda item: _change_rule(ipr, "add", item))
        each(changes.rules_removed, lambda item: _change_rule(ipr, "del", item))
        each(changes.routes_removed, lambda item: _remove_route(ipr, item))
        each(changes.neighbours_removed, lambda item: _remove_neighbour(ipr, index(item.interface), item))
        each(changes.addresses_removed, lambda item: _remove_address(ipr, index(item.interface), item))
    raise_all(problems)


def _set_link(ipr: IPRoute, index: int, link: Link) -> None:
    with _refusals(f"interface {link.name}: address {link.mac}, MTU {link.mtu}, up"):
        ipr.link("set", index=index, address=link.mac, mtu=link.mtu, state="up" if link.up else "down")


def _add_address(ipr: IPRoute, index: int, item: Address) -> None:
    with _refusals(f"address {item.address} of {item.interface}"):
        flags = {"flags": _NODAD} if isinstance(item.address, IPv6Interface) else {}
        ipr.addr("replace", index=index, address=str(item.address.ip), prefixlen=_prefixlen(item.address), **flags)


def _remove_address(ipr: IPRoute, index: int, item: Address) -> None:
    with _refusals(f"removal of address {item.address} of {item.interface}"), _absent_is_fine():
        ipr.addr("del", index=index, address=str(item.address.ip), prefixlen=_prefixlen(item.address))


def _set_neighbour(ipr: IPRoute, index: int, item: Neighbour) -> None:
    with _refusals(f"neighbour {item.address} of {item.interface}"):
        ipr.neigh(
            "replace",
            dst=str(item.address),
            family=_FAMILY[item.address.version],
            lladdr=item.mac,
            ifindex=index,
            state="permanent",
            protocol=PROTOCOL,
        )


def _remove_neighbour(ipr: IPRoute, index: int, item: Neighbour) -> None:
    with _refusals(f"removal of neighbour {item.address} of {item.interface}"), _absent_is_fine():
        ipr.neigh("del", dst=str(item.address), family=_FAMILY[item.address.version], ifindex=index)


def _set_route(ipr: IPRoute, verb: str, route: Route, index: Callable[[str], int]) -> None:
    where = {} if route.interface is None else {"oif": index(route.interface), "flags": ["onlink"]}
    try:
        with _refusals(f"route {route.destination} via {route.via}"):
            ipr.route(verb, **_route_key(route), gateway=str(route.via), **where)
    except KernelRefused as error:
        if isinstance(error.__cause__, NetlinkError) and error.__cause__.code == errno.EEXIST:
            raise RoutesTaken(
                frozenset({route.destination}),
                f"route {route.destination}: there is one already that is not ours; "
                f"remove it if nobody needs it: ip route del {route.destination}",
            ) from error
        raise


def _remove_route(ipr: IPRoute, route: Route) -> None:
    with _refusals(f"removal of route {route.destination} via {route.via}"), _absent_is_fine():
        ipr.route("del", **_route_key(route), gateway=str(route.via))


def _route_key(route: Route) -> dict[str, Any]:
    return {
        "dst": str(route.destination),
        "family": _FAMILY[route.destination.version],
        "proto": PROTOCOL,
        "table": route.table,
    }


def _change_rule(ipr: IPRoute, verb: str, rule: Rule) -> None:
    words = f"rule {verb} fwmark {RETURN_MARK:#x}/{RETURN_MARK:#x} table {RETURN_TABLE} (IPv{rule.version})"
    with _refusals(words), _absent_is_fine():
        ipr.rule(
            verb,
            family=_FAMILY[rule.version],
            fwmark=RETURN_MARK,
            fwmask=RETURN_MARK,
            table=RETURN_TABLE,
            priority=RETURN_PRIORITY,
            protocol=PROTOCOL,
        )


@contextlib.contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        if error.code not in _GONE:
            raise


def _prefixlen(address: IPInterface) -> int:
    return int(address.network.prefixlen)


def _uplinks(ours: frozenset[str]) -> tuple[Uplink, ...]:
    with _refusals("reading the Node's interfaces"), IPRoute() as ipr:
        addresses: dict[int, list[IPInterface]] = {}
        for message in ipr.get_addr():
            address = _interface_address(message)
            if not address.ip.is_link_local:
                addresses.setdefault(message["index"], []).append(address)
        return tuple(
            Uplink(
                name=str(message.get("ifname")),
                mtu=int(message.get("mtu")),
                addresses=tuple(sorted(addresses[message["index"]], key=lambda item: (item.version, item))),
            )
            for message in ipr.get_links()
            if message["index"] in addresses
            and not message["flags"] & _LOOPBACK
            and str(message.get("ifname")) not in ours
        )


def _link_names() -> frozenset[str]:
    with _refusals("reading the Node's interfaces"), IPRoute() as ipr:
        return frozenset(str(message.get("ifname")) for message in ipr.get_links())


def _mtus() -> dict[str, int]:
    with _refusals("reading the Node's interfaces"), IPRoute() as ipr:
        return {str(message.get("ifname")): int(message.get("mtu")) for message in ipr.get_links()}


def _next_hop_routes() -> tuple[FoundRoute, ...]:
    with _refusals("reading the Node's routes"), IPRoute() as ipr:
        names = {message["index"]: str(message.get("ifname")) for message in ipr.get_links()}
        return tuple(
            FoundRoute(
                destination=ip_network(f"{message.get('dst')}/{message['dst_len']}"),
                via=ip_address(message.get("gateway")),
                interface=names.get(message.get("oif"), ""),
                ours=message["proto"] == PROTOCOL,
            )
            for family in _FAMILY.values()
            for message in ipr.get_routes(family=family, table=MAIN_TABLE)
            if message.get("gateway") and message["dst_len"]
        )


def _link_exists(name: str) -> bool:
    with _refusals(f"looking for interface {name}"), IPRoute() as ipr:
        return bool(ipr.link_lookup(ifname=name))


def _delete_link(name: str) -> None:
    with _refusals(f"removal of interface {name}"), IPRoute() as ipr:
        for index in ipr.link_lookup(ifname=name):
            with _absent_is_fine():
                ipr.link("del", index=index)


def _create_pod_veth(pod: _PodEnd, host_interface: str) -> None:
    with _refusals(f"interface {host_interface}"), IPRoute() as ipr:
        try:
            namespace = os.open(pod.netns, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceMissing(f"network namespace {pod.netns}: {error.strerror}") from error
        try:
            peer = {"ifname": pod.interface, "address": pod.mac, "mtu": pod.mtu, "net_ns_fd": namespace}
            with _refusals(f"veth pair {host_interface} to {pod.interface} in {pod.netns}"):
                ipr.link("add", ifname=host_interface, kind="veth", mtu=pod.mtu, peer=peer)
        finally:
            os.close(namespace)
        try:
            _prepare_host_end(ipr, host_interface)
            _in_namespace(pod.netns, lambda: _prepare_pod_end(pod))
        except BaseException:
            _delete_link(host_interface)
            raise


def _prepare_host_end(ipr: IPRoute, name: str) -> None:
    """Bring it up without IPv6: it is a port of the switch, and has no address of its own."""
    for sysctl in read_sysctls([f"net/ipv6/conf/{name}/disable_ipv6"]):
        write_sysctl(Sysctl(key=sysctl.key, value="1"))
    ipr.link("set", index=_index(ipr, name), state="up")


def _prepare_pod_end(pod: _PodEnd) -> None:
    if not pod.checksum_offload:
        disable_tx_checksum_offload(pod.interface)
    if any(isinstance(address, IPv6Interface) for address in pod.addresses):
        write_sysctl(Sysctl(key=f"net/ipv6/conf/{pod.interface}/disable_ipv6", value="0"))
    with _refusals(f"interface {pod.interface} in {pod.netns}"), IPRoute() as ipr:
        index = _index(ipr, pod.interface)
        ipr.link("set", index=_index(ipr, "lo"), state="up")
        ipr.link("set", index=index, state="up")
        for address in pod.addresses:
            _add_address(ipr, index, Address(interface=pod.interface, address=address))
        for gateway in pod.gateways:
            with _refusals(f"default route via {gateway} in {pod.netns}"):
                ipr.route("add", dst=_DEFAULT_ROUTE[gateway.version], family=_FAMILY[gateway.version],
                          gateway=str(gateway), oif=index)  # fmt: skip


def _pod_interface_state(name: str) -> PodInterfaceState | None:
    with _refusals(f"reading interface {name}"), IPRoute(strict_check=True) as ipr:
        found = [message for message in ipr.get_links() if message.get("ifname") == name]
        if not found:
            return None
        index = found[0]["index"]
        link = _link(found[0])
        addresses = [_interface_address(message) for message in ipr.get_addr(index=index)]
        gateways = [
            ip_address(message.get("gateway"))
            for family in _FAMILY.values()
            for message in ipr.get_routes(family=family, table=MAIN_TABLE)
            if message["dst_len"] == 0 and message.get("oif") == index and message.get("gateway")
        ]
        return PodInterfaceState(
            mac=link.mac,
            mtu=link.mtu,
            up=link.up,
            addresses=tuple(address for address in addresses if not address.ip.is_link_local),
            gateways=tuple(gateways),
        )
