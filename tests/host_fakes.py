"""The Node's network stack in memory: refuses what the kernel refuses, and takes along what the kernel takes along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from antrea_proxy.host.changes import KernelChanges
from antrea_proxy.host.desired import PORTS_TABLE
from antrea_proxy.host.errors import InterfaceMissing, NftError, RoutesTaken
from antrea_proxy.host.nftables import Table, same_rules
from antrea_proxy.host.values import Address, KernelState, Link, Neighbour, Route, Rule, Sysctl
from antrea_proxy.network.values import IPAddress, IPNetwork


@dataclass(slots=True)
class FakeKernel:
    """Links, addresses, neighbours, routes and sysctls. `foreign_routes` are destinations that others have."""

    links: dict[str, Link] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    neighbours: dict[tuple[str, IPAddress], Neighbour] = field(default_factory=dict)
    routes: dict[tuple[IPNetwork, int], Route] = field(default_factory=dict)
    rules: set[Rule] = field(default_factory=set)
    sysctls: dict[str, str] = field(default_factory=dict)
    foreign_routes: set[IPNetwork] = field(default_factory=set)
    history: list[frozenset[IPNetwork]] = field(default_factory=list)
    read_backs: int = 0

    @classmethod
    def holding(cls, state: KernelState) -> FakeKernel:
        """Return a kernel that holds `state`."""
        return cls(
            links={link.name: link for link in state.links},
            addresses=sorted(state.addresses, key=str),
            neighbours={(item.interface, item.address): item for item in state.neighbours},
            routes={(route.destination, route.table): route for route in state.routes},
            rules=set(state.rules),
            sysctls={item.key: item.value for item in state.sysctls},
        )

    @property
    def destinations(self) -> frozenset[IPNetwork]:
        """Where routes lead."""
        return frozenset(destination for destination, _ in self.routes)

    async def read(self, *, interfaces: frozenset[str], sysctls: frozenset[str]) -> KernelState:
        """Return what is there."""
        self.read_backs += 1
        return KernelState(
            links=frozenset(link for name, link in self.links.items() if name in interfaces),
            addresses=frozenset(item for item in self.addresses if item.interface in interfaces),
            neighbours=frozenset(item for item in self.neighbours.values() if item.interface in interfaces),
            routes=frozenset(self.routes.values()),
            rules=frozenset(self.rules),
            sysctls=frozenset(Sysctl(key=key, value=value) for key, value in self.sysctls.items() if key in sysctls),
        )

    async def link_names(self) -> frozenset[str]:
        """Return the names of all links."""
        return frozenset(self.links)

    async def apply(self, changes: KernelChanges) -> None:
        """Carry the changes out in their order."""
        for link in changes.links:
            if link.name not in self.links:
                raise InterfaceMissing(link.name)
            self.links[link.name] = link
        self.sysctls |= {item.key: item.value for item in changes.sysctls}
        self.addresses += [item for item in changes.addresses_added if item not in self.addresses]
        self.neighbours |= {(item.interface, item.address): item for item in changes.neighbours_set}
        taken: list[IPNetwork] = []
        for route in changes.routes_added:
            if (route.destination, route.table) in self.routes or route.destination in self.foreign_routes:
                taken.append(route.destination)
            else:
                self._set_route(route)
        for route in changes.routes_replaced:
            assert (route.destination, route.table) in self.routes, "only a route of ours is ever replaced"
            self._set_route(route)
        self.rules = (self.rules | set(changes.rules_added)) - set(changes.rules_removed)
        for route in changes.routes_removed:
            self.routes.pop((route.destination, route.table), None)
            self.history.append(self.destinations)
        for item in changes.neighbours_removed:
            self.neighbours.pop((item.interface, item.address), None)
        for address in changes.addresses_removed:
            self._remove_address(address)
        if taken:
            raise RoutesTaken(frozenset(taken), f"somebody else has routes to {taken}")

    def _set_route(self, route: Route) -> None:
        self.routes[route.destination, route.table] = route
        self.history.append(self.destinations)

    def _remove_address(self, gone: Address) -> None:
        """A primary address takes the later ones of its subnet with it (ip-sysctl.rst, promote_secondaries)."""
        if gone not in self.addresses:
            return
        place = self.addresses.index(gone)
        subnet = gone.address.network
        first = not any(item.address.network == subnet for item in self.addresses[:place])
        self.addresses = [
            item
            for number, item in enumerate(self.addresses)
            if item != gone and not (first and number > place and item.address.network == subnet)
        ]


@dataclass(slots=True)
class FakeNft:
    """Tables by family and name. `words` make every write fail with them."""

    tables: dict[str, object] = field(default_factory=dict)
    shields: set[str] = field(default_factory=set)
    words: str = ""
    foreign_chains: tuple[tuple[str, str, str], ...] = ()

    async def write(self, table: Table) -> bool:
        """Make the table hold this."""
        if self.words:
            raise NftError(self.words)
        differs = self.tables.get(str(table)) != table
        self.tables[str(table)] = table
        return differs

    async def change(self, table: Table) -> bool:
        """Change elements of a table's sets."""
        if self.words:
            raise NftError(self.words)
        held = self.tables.get(str(table))
        if not isinstance(held, Table) or not same_rules(held, table):
            return False
        self.tables[str(table)] = table
        return True

    async def chains(self) -> tuple[tuple[str, str, str], ...]:
        """Return the chains of others."""
        return self.foreign_chains

    async def remove(self, family: str, name: str) -> None:
        """Remove a table."""
        self.tables.pop(f"{family} {name}", None)
        if family == "netdev":
            self.shields.clear()

    async def shield(
        self, family: str, table: str, interfaces: Iterable[str], *, present: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Shield interfaces."""
        assert (family, table) == PORTS_TABLE
        wanted = frozenset(interfaces)
        missing = (wanted if present is None else wanted & present) - self.shields
        self.shields = {name for name in self.shields | missing if present is None or name in present}
        return missing

    async def unshield(self, family: str, table: str, interface: str) -> None:
        """Take a shield away."""
        assert (family, table) == PORTS_TABLE
        self.shields.discard(interface)
