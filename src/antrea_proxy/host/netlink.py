"""The Node's own network stack, by rtnetlink: every method runs in a thread, one at a time."""

from __future__ import annotations

import errno
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from antrea_proxy.host.changes import KernelChanges
from antrea_proxy.host.errors import (
    HostError,
    KernelRefused,
    RoutesTaken,
    raise_all,
)
from antrea_proxy.host.facts import FoundRoute
from antrea_proxy.host.rtnetlink import (
    DEFAULT_ROUTE,
    FAMILY,
    GONE,
    OneAtATime,
    Result,
    absent_is_fine,
    add_address,
    delete_link,
    index_of,
    interface_address,
    link_exists,
    link_of,
    prefixlen,
    refusals,
)
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
)
from antrea_proxy.network.values import IPInterface, Uplink

_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h
_LOOPBACK = 0x8  # IFF_LOOPBACK


class Netlink:
    """The Node's network stack. All methods raise HostError."""

    def __init__(self) -> None:
        self._thread = OneAtATime()

    async def read(self, *, interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
        """Return what these interfaces and settings are like, and every route that is ours.

        Link-local addresses are the kernel's own and left out, as is what is not there.
        """
        return await self._thread.run(lambda: _read(interfaces, sysctls))

    async def apply(self, changes: KernelChanges) -> None:
        """Carry out every change that can be; then raise HostError naming those that could not.

        Raises InterfaceMissing, before anything is changed, when a link is not there.
        """
        await self._thread.run(lambda: _apply(changes))

    async def uplinks(self, ours: frozenset[str] = frozenset()) -> tuple[Uplink, ...]:
        """Return the Node's interfaces that have a global address, without loopback and those named."""
        return await self._thread.run(lambda: _uplinks(ours))

    async def link_names(self) -> frozenset[str]:
        """Return the names of all links of the Node."""
        return await self._thread.run(_link_names)

    async def mtus(self) -> dict[str, int]:
        """Return the MTU in bytes of every link of the Node."""
        return await self._thread.run(_mtus)

    async def next_hop_routes(self) -> tuple[FoundRoute, ...]:
        """Return the routes of everybody in the main table that have a next hop, without default routes."""
        return await self._thread.run(_next_hop_routes)

    async def link_exists(self, name: str) -> bool:
        """Whether the Node has a link of this name."""
        return await self._thread.run(lambda: link_exists(name))

    async def delete_link(self, name: str) -> None:
        """Remove a link of the Node; one that is absent is no error. A veth's other end goes with it."""
        await self._thread.run(lambda: delete_link(name))


def _read(interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
    with refusals("reading the Node's network stack"), IPRoute(strict_check=True) as ipr:
        links = {message["index"]: message for message in ipr.get_links() if message.get("ifname") in interfaces}
        ours = {index: str(message.get("ifname")) for index, message in links.items()}
        return KernelState(
            links=frozenset(map(link_of, links.values())),
            addresses=frozenset(
                Address(interface=ours[message["index"]], address=address)
                for message in ipr.get_addr()
                if message["index"] in ours and not (address := interface_address(message)).ip.is_link_local
            ),
            neighbours=frozenset(_neighbours(ipr, ours)),
            routes=frozenset(_routes(ipr, ours)),
            rules=frozenset(_rules(ipr)),
            sysctls=read_sysctls(sysctls),
        )


def _neighbours(ipr: IPRoute, ours: dict[int, str]) -> Iterator[Neighbour]:
    for family in FAMILY.values():
        for message in ipr.get_neighbours(family=family):
            if message.get("protocol") == PROTOCOL and message["ifindex"] in ours:
                yield Neighbour(
                    interface=ours[message["ifindex"]],
                    address=ip_address(message.get("dst")),
                    # One that is no longer permanent is not what we set, and so has no MAC of ours.
                    mac=str(message.get("lladdr")) if message["state"] & _PERMANENT else "",
                )


def _routes(ipr: IPRoute, ours: dict[int, str]) -> Iterator[Route]:
    for (version, family), table in itertools.product(FAMILY.items(), (MAIN_TABLE, RETURN_TABLE)):
        for message in _in_table(ipr, family, table):
            if message["proto"] == PROTOCOL and message.get("gateway"):
                destination = f"{message.get('dst')}/{message['dst_len']}" if message["dst_len"] else None
                yield Route(
                    destination=ip_network(destination or DEFAULT_ROUTE[version]),
                    via=ip_address(message.get("gateway")),
                    interface=ours.get(message.get("oif")),
                    table=table,
                )


def _in_table(ipr: IPRoute, family: int, table: int) -> list[Any]:
    """The kernel makes a table with its first route (ENOENT until then)."""
    try:
        return list(ipr.get_routes(family=family, proto=PROTOCOL, table=table))
    except NetlinkError as error:
        if error.code not in GONE:
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
    for version, family in FAMILY.items():
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

    with refusals("opening a netlink socket"), IPRoute() as ipr:
        index = functools.cache(lambda name: index_of(ipr, name))
        for link in changes.links:
            index(link.name)
        each(changes.sysctls, write_sysctl)
        each(changes.links, lambda item: _set_link(ipr, index(item.name), item))
        each(changes.addresses_added, lambda item: add_address(ipr, index(item.interface), item))
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
    with refusals(f"interface {link.name}: address {link.mac}, MTU {link.mtu}, up"):
        ipr.link("set", index=index, address=link.mac, mtu=link.mtu, state="up" if link.up else "down")


def _remove_address(ipr: IPRoute, index: int, item: Address) -> None:
    with refusals(f"removal of address {item.address} of {item.interface}"), absent_is_fine():
        ipr.addr("del", index=index, address=str(item.address.ip), prefixlen=prefixlen(item.address))


def _set_neighbour(ipr: IPRoute, index: int, item: Neighbour) -> None:
    with refusals(f"neighbour {item.address} of {item.interface}"):
        ipr.neigh(
            "replace",
            dst=str(item.address),
            family=FAMILY[item.address.version],
            lladdr=item.mac,
            ifindex=index,
            state="permanent",
            protocol=PROTOCOL,
        )


def _remove_neighbour(ipr: IPRoute, index: int, item: Neighbour) -> None:
    with refusals(f"removal of neighbour {item.address} of {item.interface}"), absent_is_fine():
        ipr.neigh("del", dst=str(item.address), family=FAMILY[item.address.version], ifindex=index)


def _set_route(ipr: IPRoute, verb: str, route: Route, index: Callable[[str], int]) -> None:
    where = {} if route.interface is None else {"oif": index(route.interface), "flags": ["onlink"]}
    try:
        with refusals(f"route {route.destination} via {route.via}"):
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
    with refusals(f"removal of route {route.destination} via {route.via}"), absent_is_fine():
        ipr.route("del", **_route_key(route), gateway=str(route.via))


def _route_key(route: Route) -> dict[str, Any]:
    return {
        "dst": str(route.destination),
        "family": FAMILY[route.destination.version],
        "proto": PROTOCOL,
        "table": route.table,
    }


def _change_rule(ipr: IPRoute, verb: str, rule: Rule) -> None:
    words = f"rule {verb} fwmark {RETURN_MARK:#x}/{RETURN_MARK:#x} table {RETURN_TABLE} (IPv{rule.version})"
    with refusals(words), absent_is_fine():
        ipr.rule(
            verb,
            family=FAMILY[rule.version],
            fwmark=RETURN_MARK,
            fwmask=RETURN_MARK,
            table=RETURN_TABLE,
            priority=RETURN_PRIORITY,
            protocol=PROTOCOL,
        )


def _uplinks(ours: frozenset[str]) -> tuple[Uplink, ...]:
    with refusals("reading the Node's interfaces"), IPRoute() as ipr:
        addresses: dict[int, list[IPInterface]] = {}
        for message in ipr.get_addr():
            address = interface_address(message)
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
    with refusals("reading the Node's interfaces"), IPRoute() as ipr:
        return frozenset(str(message.get("ifname")) for message in ipr.get_links())


def _mtus() -> dict[str, int]:
    with refusals("reading the Node's interfaces"), IPRoute() as ipr:
        return {str(message.get("ifname")): int(message.get("mtu")) for message in ipr.get_links()}


def _next_hop_routes() -> tuple[FoundRoute, ...]:
    with refusals("reading the Node's routes"), IPRoute() as ipr:
        names = {message["index"]: str(message.get("ifname")) for message in ipr.get_links()}
        return tuple(
            FoundRoute(
                destination=ip_network(f"{message.get('dst')}/{message['dst_len']}"),
                via=ip_address(message.get("gateway")),
                interface=names.get(message.get("oif"), ""),
                ours=message["proto"] == PROTOCOL,
            )
            for family in FAMILY.values()
            for message in ipr.get_routes(family=family, table=MAIN_TABLE)
            if message.get("gateway") and message["dst_len"]
        )
