"""Tells peers where this Node's tunnel ends: by an annotation of the Node, as Antrea's agents do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.kubernetes.labels import TRANSPORT_ANNOTATION
from antrea_proxy.network.values import IPAddress
from antrea_proxy.sinks.node_annotations import patch_node_annotation
from antrea_proxy.sources import ApiClient, SourceError

STEP_S: Final = 1.0

_log = structlog.get_logger(__name__)


async def announce(client: ApiClient, node_name: str, addresses: Callable[[], Sequence[IPAddress] | None]) -> None:
    """Keep the annotation true until cancelled; `addresses` gives None while they are not known."""
    announced = None
    backoff = Backoff()
    while True:
        found = addresses()
        wanted = None if found is None else ",".join(map(str, found))
        delay = STEP_S
        if wanted is not None and wanted != announced:
            try:
                await patch_node_annotation(client, node_name, TRANSPORT_ANNOTATION, wanted)
            except SourceError as error:
                delay = backoff.next_delay()
                _log.warning("the Node cannot be annotated", annotation=TRANSPORT_ANNOTATION, error=str(error))
            else:
                announced = wanted
                backoff.reset()
        await asyncio.sleep(delay)
