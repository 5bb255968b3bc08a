"""Patches: JSON patch (RFC 6902), merge patch (RFC 7386) and Kubernetes' strategic merge patch. Pure."""

from __future__ import annotations

from enum import Enum

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request
from antrea_proxy.lab.api_server.patches.json_patch import apply_json_patch
from antrea_proxy.lab.api_server.patches.merge_patch import apply_merge_patch
from antrea_proxy.lab.api_server.patches.strategic import apply_strategic_merge_patch
from antrea_proxy.lab.api_server.schema import schema_of


class PatchType(Enum):
    """The ways to write a patch, by the media type that names each."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"


def apply_patch(patch_type: PatchType, before: JsonObject, patch: object) -> JsonObject:
    """Give a patched copy of an object.

    Raises ApiError: 400 for a patch of the wrong form, 422 where a JSON patch's test or path does not hold.
    """
    if patch_type is PatchType.JSON:
        return apply_json_patch(before, patch)
    if not isinstance(patch, dict):
        raise bad_request("the patch is not a JSON object")
    if patch_type is PatchType.MERGE:
        return apply_merge_patch(before, patch)
    return apply_strategic_merge_patch(schema_of(before["apiVersion"], before["kind"]), before, patch)


__all__ = ["PatchType", "apply_json_patch", "apply_merge_patch", "apply_patch", "apply_strategic_merge_patch"]
