"""What can go wrong between us and the Node's network stack, in one family."""

from __future__ import annotations

from collections.abc import Sequence

from antrea_proxy.network.values import IPNetwork


class HostError(Exception):
    """Base of every error of this room."""


def raise_all(problems: Sequence[HostError]) -> None:
    """Raise what went wrong, if anything did: one error as it is, several as one that says them all."""
    if len(problems) == 1:
        raise problems[0]
    taken = [problem for problem in problems if isinstance(problem, RoutesTaken)]
    if taken and len(taken) == len(problems):
        raise RoutesTaken(frozenset().union(*(problem.destinations for problem in taken)), "; ".join(map(str, taken)))
    if problems:
        raise HostError("; ".join(map(str, problems))) from problems[0]


class InterfaceMissing(HostError):  # noqa: N818 - names a state of the Node, as the message does
    """An interface that must be there is not."""


class NamespaceMissing(HostError):  # noqa: N818 - names a state of the Node, as the message does
    """A network namespace cannot be entered: it is gone, or the path is none."""


class KernelRefused(HostError):  # noqa: N818 - says what the kernel did
    """The kernel refused a change; the message names the change and the kernel's reason."""


class RoutesTaken(KernelRefused):
    """Somebody else has routes to these destinations; all else was done."""

    def __init__(self, destinations: frozenset[IPNetwork], text: str) -> None:
        super().__init__(text)
        self.destinations = destinations


class NftError(HostError):
    """The program nft is missing, or refused a transaction; the message holds its own words."""
