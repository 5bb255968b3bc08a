"""The difference between what the kernel holds of ours and what it must hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from antrea_proxy.host.values import Address, KernelState, Link, Neighbour, Route, Rule, Sysctl


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChanges:
    """What to do, in the order of the fields, so that nothing is taken away before what replaces it is there.

    A replaced route takes the place of the one with its destination that is ours already.
    """

    sysctls: tuple[Sysctl, ...] = ()
    links: tuple[Link, ...] = ()
    addresses_added: tuple[Address, ...] = ()
    neighbours_set: tuple[Neighbour, ...] = ()
    routes_added: tuple[Route, ...] = ()
    routes_replaced: tuple[Route, ...] = ()
    rules_added: tuple[Rule, ...] = ()
    rules_removed: tuple[Rule, ...] = ()
    routes_removed: tuple[Route, ...] = ()
    neighbours_removed: tuple[Neighbour, ...] = ()
    addresses_removed: tuple[Address, ...] = ()

    def __bool__(self) -> bool:
        return self != KernelChanges()


def diff(observed: KernelState, desired: KernelState) -> KernelChanges:
    """Return the changes that lead from `observed` to `desired`.

    Links and sysctls are set, never taken away: a link is the switch's, a sysctl has no earlier value to go back to.
    """
    routed = {(route.destination, route.table) for route in observed.routes}
    wanted = {(route.destination, route.table) for route in desired.routes}
    new_routes = desired.routes - observed.routes
    named = {(item.interface, item.address) for item in desired.neighbours}
    return KernelChanges(
        sysctls=_sorted(desired.sysctls - observed.sysctls),
        links=_sorted(desired.links - observed.links),
        addresses_added=_sorted(desired.addresses - observed.addresses),
        neighbours_set=_sorted(desired.neighbours - observed.neighbours),
        routes_added=_sorted(route for route in new_routes if (route.destination, route.table) not in routed),
        routes_replaced=_sorted(route for route in new_routes if (route.destination, route.table) in routed),
        rules_added=_sorted(desired.rules - observed.rules),
        rules_removed=_sorted(observed.rules - desired.rules),
        routes_removed=_sorted(route for route in observed.routes if (route.destination, route.table) not in wanted),
        neighbours_removed=_sorted(item for item in observed.neighbours if (item.interface, item.address) not in named),
        addresses_removed=_sorted(observed.addresses - desired.addresses),
    )


Item = TypeVar("Item", Address, Link, Neighbour, Route, Rule, Sysctl)


def _sorted(items: Iterable[Item]) -> tuple[Item, ...]:
    """One order for equal differences, so that what is reported does not change from run to run."""
    return tuple(sorted(items, key=str))
