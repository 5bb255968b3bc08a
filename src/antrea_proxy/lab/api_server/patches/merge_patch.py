"""JSON merge patch, RFC 7386."""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import JsonObject


def apply_merge_patch(before: JsonObject, patch: JsonObject) -> JsonObject:
    """Give a copy with the patch's values; null removes, lists are replaced."""
    after = dict(before)
    for key, value in patch.items():
        if value is None:
            after.pop(key, None)
        elif isinstance(value, dict):
            existing = after.get(key)
            after[key] = apply_merge_patch(existing if isinstance(existing, dict) else {}, value)
        else:
            after[key] = value
    return after
