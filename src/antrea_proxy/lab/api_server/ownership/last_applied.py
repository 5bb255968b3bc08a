"""From client-side to server-side apply: what kubectl applied before by its annotation counts as its own.

Source: k8s.io/apimachinery `managedfields/internal` lastappliedmanager and lastappliedupdater.
"""

from __future__ import annotations

from typing import Final

import msgspec

from antrea_proxy.lab.api_server.errors import JsonObject

KUBECTL: Final = "kubectl"
"""The manager to whom this applies: the name that kubectl applies under where it is given no other."""
_ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"


def last_applied(obj: JsonObject) -> JsonObject | None:
    """Give the configuration that was applied by the client last; None where there is none that can be read."""
    text = (obj["metadata"].get("annotations") or {}).get(_ANNOTATION)
    try:
        found = msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, TypeError):
        return None
    return found if isinstance(found, dict) else None


def note_applied(obj: JsonObject, applied: JsonObject) -> None:
    """Write into the annotation what is applied now, for a later client-side apply."""
    obj["metadata"]["annotations"][_ANNOTATION] = msgspec.json.encode(applied).decode() + "\n"
