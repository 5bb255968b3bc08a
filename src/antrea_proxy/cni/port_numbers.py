"""Which OpenFlow port number a new Pod asks for."""

from __future__ import annotations

from collections.abc import Iterable

from antrea_proxy.network.interfaces import OfPort

FIRST = 16
"""Below are the Node's own ports: tunnel, gateway, refusals."""

LAST = 65279
"""Open vSwitch gives a higher number itself, to whoever asks for none (ovs-vswitchd.conf.db(5), ofport_request)."""


class PortNumbers:
    """Goes round: a number comes back as late as can be, since a packet of an earlier Pod may still be in flight."""

    def __init__(self) -> None:
        self._previous = FIRST - 1

    def continue_after(self, used: Iterable[OfPort]) -> None:
        """Go on after the highest of these."""
        self._previous = min(LAST, max(self._previous, *used, FIRST - 1))

    def next(self, used: Iterable[OfPort]) -> OfPort:
        """Return the next number that is not used.

        Raises ValueError when all are.
        """
        taken = set(used)
        for _ in range(FIRST, LAST + 1):
            self._previous = self._previous + 1 if self._previous < LAST else FIRST
            if self._previous not in taken:
                return OfPort(self._previous)
        raise ValueError("every port number is used")
