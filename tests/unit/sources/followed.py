"""Following Services on a scripted API server: what a consumer sees."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from pathlib import Path

from antrea_proxy.kubernetes.events import Added, Deleted, Event, Listed, Listing, Modified, Undecodable
from antrea_proxy.kubernetes.kinds import SERVICES
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.sources import ApiClient, ApiServerSource, SourceStatus, cluster_access
from antrea_proxy.sources.api_server import Timings
from scripted_api_server import ScriptedApiServer, Step, scripted

PATIENCE_S = 20.0


@dataclass(slots=True)
class Followed:
    """What a consumer saw: batches of events, and the statuses."""

    batches: list[list[Event[Service]]] = field(default_factory=list)
    statuses: list[SourceStatus] = field(default_factory=list)

    @property
    def story(self) -> list[str]:
        """The events in short: `listed a b`, `added c`."""
        return [_told(event) for batch in self.batches for event in batch]

    @property
    def errors(self) -> list[str]:
        """Each error that was told, once for each time."""
        told = {status.last_error_at: status.last_error for status in self.statuses if status.last_error}
        return list(told.values())


def _told(event: Event[Service]) -> str:
    match event:
        case Listed(objects=objects) | Listing(objects=objects):
            return " ".join([type(event).__name__.lower(), *(item.metadata.name for item in objects)])
        case Added(object=item) | Modified(object=item):
            return f"{type(event).__name__.lower()} {item.metadata.name}"
        case Deleted(name=name) | Undecodable(name=name):
            return f"{type(event).__name__.lower()} {name.name}"


def follow(
    tmp_path: Path,
    *steps: Step,
    until: str,
    timings: Timings | None = None,
    page_size: int = 0,
    streaming_lists: bool = False,
) -> tuple[Followed, ScriptedApiServer]:
    """Follow Services on a scripted server until the story ends so."""

    async def run() -> tuple[Followed, ScriptedApiServer]:
        seen = Followed()
        async with scripted(*steps) as server, asyncio.timeout(PATIENCE_S):
            access = cluster_access(server.kubeconfig(tmp_path / "kubeconfig", username="tester"), {})
            async with ApiClient(access) as client:
                source = ApiServerSource(
                    client=client,
                    on_status=seen.statuses.append,
                    timings=timings or Timings(),
                    first_backoff_s=0.01,
                    page_size=page_size,
                    streaming_lists=streaming_lists,
                    random=random.Random(1),
                )
                async with contextlib.aclosing(source.watch(SERVICES)) as watch:
                    async for batch in watch:
                        seen.batches.append(batch)
                        if seen.story[-1] == until:
                            break
        return seen, server

    return asyncio.run(run())
