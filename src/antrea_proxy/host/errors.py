"""What can go wrong between us and the Node's network stack, in one family."""

from __future__ import annotations

from collections.abc import Sequence


class HostError(Exception):
    """Base of every error of this room."""


def raise_all(problems: Sequence[HostError]) -> None:
    """Raise what went wrong, if anything did: one error as it is, several as one that says them all."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise HostError("; ".join(map(str, problems))) from problems[0]


class InterfaceMissing(HostError):  # noqa: N818 - names a state of the Node, as the message does
    """An interface that must be there is not."""


class NamespaceMissing(HostError):  # noqa: N818 - names a state of the Node, as the message does
    """A network namespace cannot be entered: it is gone, or the path is none."""


class KernelRefused(HostError):  # noqa: N818 - says what the kernel did
    """The kernel refused a change; the message names the change and the kernel's reason."""


class NftError(HostError):
    """The program nft is missing, or refused a transaction; the message holds its own words."""
