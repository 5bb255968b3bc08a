"""What the agent needs from a source, wherever it comes from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from antrea_proxy.kubernetes.events import Event
from antrea_proxy.kubernetes.kinds import Kind, ObjectT


class Source(Protocol):
    """Yields batches, each with all that was there to be had at that moment, in its order.

    The first batches are the list: one Listed alone, before which each of any number of batches may be one Listing. A
    list that fails half-way begins anew. A later Listed replaces all that was known of the kind.
    """

    def watch(self, kind: Kind[ObjectT]) -> AsyncGenerator[list[Event[ObjectT]], None]:
        """Follow one kind for ever. A fault is never raised: it is told by the SourceStatus, and tried again."""
        ...
