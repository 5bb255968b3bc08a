"""Annotations that the agent puts on its own Node."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from antrea_proxy.sources.client import ApiClient, Request


async def patch_node_annotation(client: ApiClient, node: str, key: str, value: str | None) -> None:
    """Set one annotation of a Node, or remove it with None, by a JSON merge patch (RFC 7386): no other is touched.

    Raises the SourceError of sources.errors: RefusedError with code 403 without the right to patch Nodes, 404 without
    the Node.
    """
    await client.fetch(
        Request(
            method="PATCH",
            path=f"/api/v1/nodes/{quote(node, safe='')}",
            body=msgspec.json.encode({"metadata": {"annotations": {key: value}}}),
            content_type="application/merge-patch+json",
        )
    )
