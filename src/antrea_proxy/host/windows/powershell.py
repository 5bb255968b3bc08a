"""PowerShell for a Windows Node: each step is one line, and may be run again. Pure.

What is new comes before what goes, so that nothing is taken away before what replaces it is there. Where Windows has a
persistent store, nothing is written to it: after a boot it is the agent that makes everything anew.
Source: the reference of the NetAdapter, NetTCPIP and NetNat modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from antrea_proxy.host.values import PROTOCOL, Address, Link, Neighbour, Route
from antrea_proxy.host.windows.desired import NODE_PORT_NAT, POD_NAT, Nat, StaticMapping, WindowsState

Item = TypeVar("Item", Address, Neighbour, Route, Nat, StaticMapping)

ROUTE_METRIC: Final = PROTOCOL
"""Windows lets nobody mark a route as his own but by its metric: ours have this one."""

_FAMILIES: Final = {4: "IPv4", 6: "IPv6"}

_QUOTES: Final = "'\u2018\u2019\u201a\u201b"
"""Each of them ends a text that the first began (about_Quoting_Rules)."""


def first_steps(desired: WindowsState) -> tuple[str, ...]:
    """Return the steps on a Node of which nothing is known: what is missing is made, what else is ours removed."""
    return (*_added(WindowsState(gateway=desired.gateway), desired, link=True), *_swept(desired))


def steps(before: WindowsState, after: WindowsState) -> tuple[str, ...]:
    """Return the steps that lead a Node from `before`, which it holds, to `after`."""
    return (*_added(before, after, link=before.gateway != after.gateway), *_removed(before, after))


def removal(gateway: str) -> tuple[str, ...]:
    """Return the steps that take away all that is ours; the gateway itself is the switch's."""
    alias = quoted(gateway)
    return (
        *(f"Get-NetNat -Name {quoted(name)} -ErrorAction Ignore | {_REMOVE_NAT}" for name in (NODE_PORT_NAT, POD_NAT)),
        f"Get-NetRoute -RouteMetric {ROUTE_METRIC} -ErrorAction Ignore | {_REMOVE_ROUTE}",
        f"Get-NetNeighbor -InterfaceAlias {alias} -State Permanent -ErrorAction Ignore | {_REMOVE_NEIGHBOUR}",
        f"Get-NetIPAddress -InterfaceAlias {alias} -PrefixOrigin Manual -ErrorAction Ignore | {_REMOVE_ADDRESS}",
    )


def quoted(text: str) -> str:
    """Write a text so that PowerShell takes it literally (about_Quoting_Rules).

    Raises ValueError for one with control characters: no name has them.
    """
    if not text.isprintable():
        raise ValueError(f"{text!r}: a name in a step for PowerShell must be printable")
    return "'" + "".join(character * 2 if character in _QUOTES else character for character in text) + "'"


_REMOVE_ADDRESS: Final = "Remove-NetIPAddress -Confirm:$false"
_REMOVE_NAT: Final = "Remove-NetNat -Confirm:$false"
_REMOVE_NEIGHBOUR: Final = "Remove-NetNeighbor -Confirm:$false"
_REMOVE_ROUTE: Final = "Remove-NetRoute -Confirm:$false"
_REMOVE_MAPPING: Final = "Remove-NetNatStaticMapping -Confirm:$false"


def _added(before: WindowsState, after: WindowsState, *, link: bool) -> Iterator[str]:
    if link:
        yield from _gateway(after.gateway, sorted({item.address.version for item in after.addresses}))
    yield from map(_new_address, _sorted(after.addresses - before.addresses))
    yield from map(_new_neighbour, _sorted(after.neighbours - before.neighbours))
    yield from map(_new_route, _sorted(after.routes - before.routes))
    yield from map(_new_nat, _sorted(after.nats - before.nats))
    yield from map(_new_mapping, _sorted(after.mappings - before.mappings))


def _removed(before: WindowsState, after: WindowsState) -> Iterator[str]:
    """Remove what is there no more; the mappings of a NetNat go with it."""
    nats = {nat.name for nat in after.nats}
    if NODE_PORT_NAT in nats:
        yield from map(_no_mapping, _sorted(before.mappings - after.mappings))
    for nat in _sorted(item for item in before.nats if item.name not in nats):
        yield f"Get-NetNat -Name {quoted(nat.name)} -ErrorAction Ignore | {_REMOVE_NAT}"
    for route in _sorted(before.routes - after.routes):
        yield f"{_routes(route)} | {_REMOVE_ROUTE}"
    known = {(item.interface, item.address) for item in after.neighbours}
    for neighbour in _sorted(item for item in before.neighbours if (item.interface, item.address) not in known):
        yield f"{_neighbour(neighbour)} | {_REMOVE_NEIGHBOUR}"
    for address in _sorted(before.addresses - after.addresses):
        yield f"{_address(address)} | {_REMOVE_ADDRESS}"


def _swept(desired: WindowsState) -> Iterator[str]:
    """Remove what an agent left that was here before, and that is not desired any more."""
    alias = quoted(desired.gateway.name)
    nats = {nat.name for nat in desired.nats}
    if NODE_PORT_NAT in nats:
        mappings = _listed(f"{item.protocol}/{item.port}" for item in _sorted(desired.mappings))
        yield (
            f"Get-NetNatStaticMapping -NatName {quoted(NODE_PORT_NAT)} -ErrorAction Ignore | "
            f'Where-Object {{ "$($_.Protocol)/$($_.ExternalPort)" -notin {mappings} }} | {_REMOVE_MAPPING}'
        )
    for name in (NODE_PORT_NAT, POD_NAT):
        if name not in nats:
            yield f"Get-NetNat -Name {quoted(name)} -ErrorAction Ignore | {_REMOVE_NAT}"
    routes = _listed(f"{route.destination} {route.via}" for route in _sorted(desired.routes))
    yield (
        f"Get-NetRoute -RouteMetric {ROUTE_METRIC} -ErrorAction Ignore | "
        f'Where-Object {{ "$($_.DestinationPrefix) $($_.NextHop)" -notin {routes} }} | {_REMOVE_ROUTE}'
    )
    neighbours = _listed(str(item.address) for item in _sorted(desired.neighbours))
    yield (
        f"Get-NetNeighbor -InterfaceAlias {alias} -State Permanent -ErrorAction Ignore | "
        f"Where-Object IPAddress -notin {neighbours} | {_REMOVE_NEIGHBOUR}"
    )
    addresses = _listed(str(item.address.ip) for item in _sorted(desired.addresses))
    yield (
        f"Get-NetIPAddress -InterfaceAlias {alias} -PrefixOrigin Manual -ErrorAction Ignore | "
        f"Where-Object IPAddress -notin {addresses} | {_REMOVE_ADDRESS}"
    )


def _gateway(gateway: Link, versions: Iterable[int]) -> Iterator[str]:
    """A bridge forwards between its own port and the Node's uplink only where both are told to."""
    alias, mac = quoted(gateway.name), quoted(_mac(gateway.mac))
    yield (
        f"if ((Get-NetAdapter -Name {alias}).MacAddress -ne {mac}) "
        f"{{ Set-NetAdapter -Name {alias} -MacAddress {mac} -Confirm:$false }}"
    )
    yield f"Enable-NetAdapter -Name {alias} -Confirm:$false"
    for version in versions:
        family = _FAMILIES[version]
        yield (
            f"Set-NetIPInterface -InterfaceAlias {alias} -AddressFamily {family} -NlMtuBytes {gateway.mtu} "
            "-Forwarding Enabled -PolicyStore ActiveStore"
        )


def _new_address(item: Address) -> str:
    return (
        f"if (-not ({_address(item)})) {{ New-NetIPAddress -InterfaceAlias {quoted(item.interface)} "
        f"-IPAddress {item.address.ip} -PrefixLength {item.address.network.prefixlen} -PolicyStore ActiveStore }}"
    )


def _address(item: Address) -> str:
    return f"Get-NetIPAddress -InterfaceAlias {quoted(item.interface)} -IPAddress {item.address.ip} -ErrorAction Ignore"


def _new_neighbour(item: Neighbour) -> str:
    named = f"-InterfaceAlias {quoted(item.interface)} -IPAddress {item.address}"
    known = f"{named} -LinkLayerAddress {quoted(_mac(item.mac))}"
    return (
        f"if ({_neighbour(item)}) {{ Set-NetNeighbor {known} }} "
        f"else {{ New-NetNeighbor {known} -State Permanent -PolicyStore ActiveStore }}"
    )


def _neighbour(item: Neighbour) -> str:
    return (
        f"Get-NetNeighbor -InterfaceAlias {quoted(item.interface)} -IPAddress {item.address} -State Permanent "
        "-ErrorAction Ignore"
    )


def _new_route(route: Route) -> str:
    if route.interface is None:
        found = f"(Find-NetRoute -RemoteIPAddress {route.via} | Select-Object -First 1).InterfaceIndex"
        interface = f"-InterfaceIndex {found}"
    else:
        interface = f"-InterfaceAlias {quoted(route.interface)}"
    return (
        f"if (-not ({_routes(route)})) {{ New-NetRoute -DestinationPrefix {route.destination} -NextHop {route.via} "
        f"{interface} -RouteMetric {ROUTE_METRIC} -PolicyStore ActiveStore }}"
    )


def _routes(route: Route) -> str:
    return (
        f"Get-NetRoute -DestinationPrefix {route.destination} -NextHop {route.via} -RouteMetric {ROUTE_METRIC} "
        "-ErrorAction Ignore"
    )


def _new_nat(nat: Nat) -> str:
    """The prefix of a NetNat cannot be changed: it is made anew."""
    name, inside = quoted(nat.name), f"'{nat.inside}'"
    return (
        f"if ((Get-NetNat -Name {name} -ErrorAction Ignore).InternalIPInterfaceAddressPrefix -ne {inside}) "
        f"{{ Get-NetNat -Name {name} -ErrorAction Ignore | {_REMOVE_NAT}; "
        f"New-NetNat -Name {name} -InternalIPInterfaceAddressPrefix {inside} }}"
    )


def _new_mapping(item: StaticMapping) -> str:
    return (
        f"if (-not ({_mapping(item)})) {{ Add-NetNatStaticMapping -NatName {quoted(NODE_PORT_NAT)} "
        f"-Protocol {item.protocol} -ExternalIPAddress 0.0.0.0 -ExternalPort {item.port} "
        f"-InternalIPAddress {item.to} -InternalPort {item.port} }}"
    )


def _no_mapping(item: StaticMapping) -> str:
    return f"{_mapping(item)} | {_REMOVE_MAPPING}"


def _mapping(item: StaticMapping) -> str:
    return (
        f"Get-NetNatStaticMapping -NatName {quoted(NODE_PORT_NAT)} -ErrorAction Ignore | "
        f"Where-Object {{ $_.Protocol -eq '{item.protocol}' -and $_.ExternalPort -eq {item.port} }}"
    )


def _listed(texts: Iterable[str]) -> str:
    return f"@({', '.join(map(quoted, texts))})"


def _mac(text: str) -> str:
    return text.upper().replace(":", "-")


def _sorted(items: Iterable[Item]) -> list[Item]:
    """One order for equal differences."""
    return sorted(items, key=str)
