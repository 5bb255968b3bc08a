"""How a Deployment divides its Pods between ReplicaSets while it rolls out. Pure.

Source: kubernetes `pkg/controller/deployment` (rolling.go, recreate.go, sync.go) and `util/deployment_util.go`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]
HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # the API's own for generated names: no vowels, so no words
_HASH_LETTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class SetState:
    """One ReplicaSet: what it asks for and what it has."""

    name: str
    wanted: int
    replicas: int
    available: int


def template_hash(template: JsonObject) -> str:
    """Give the label value that tells Pods of one template from those of another; an empty map is as none."""
    metadata = {name: value for name, value in (template.get("metadata") or {}).items() if value}
    text = json.dumps({**template, "metadata": metadata}, sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_HASH_LETTERS):
        number, digit = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def number_of(value: int | str, whole: int, *, up: bool) -> int:
    """Resolve a number or a percentage of `whole`, rounded up or down."""
    if isinstance(value, int):
        return value
    product = int(value.removesuffix("%")) * whole
    return -(-product // 100) if up else product // 100


def surge_and_unavailable(strategy: JsonObject, replicas: int) -> tuple[int, int]:
    """Give maxSurge and maxUnavailable as numbers; where both come to 0, one may be unavailable."""
    rolling = strategy.get("rollingUpdate") or {}
    surge = number_of(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = min(number_of(rolling.get("maxUnavailable", "25%"), replicas, up=False), replicas)
    return (surge, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def next_sizes(spec: JsonObject, new: SetState, old: Sequence[SetState]) -> dict[str, int]:
    """Say to what the ReplicaSets are to be scaled now; those left out stay. `old` is oldest first."""
    replicas: int = spec["replicas"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        sizes = {one.name: 0 for one in old if one.wanted}
        if not any(one.replicas or one.wanted for one in old) and new.wanted != replicas:
            sizes[new.name] = replicas
        return sizes
    surge, unavailable = surge_and_unavailable(strategy, replicas)
    total = new.wanted + sum(one.wanted for one in old)
    if new.wanted > replicas:
        return {new.name: replicas}
    if new.wanted < replicas and total < replicas + surge:
        return {new.name: min(replicas, new.wanted + replicas + surge - total)}
    return _scale_down(replicas - unavailable, new, old, total)


def _scale_down(least_available: int, new: SetState, old: Sequence[SetState], total: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    # First Pods that are not available anyway: taking them costs nobody a connection.
    new_missing = max(0, new.wanted - new.available)
    most = total - least_available - new_missing
    removed = 0
    for one in old:
        unhealthy = min(max(0, one.wanted - one.available), max(0, most - removed))
        if unhealthy:
            sizes[one.name] = one.wanted - unhealthy
            removed += unhealthy
    available = new.available + sum(one.available for one in old)
    spare = max(0, available - least_available)
    for one in old:
        size = sizes.get(one.name, one.wanted)
        healthy = min(one.available, size, spare)
        if healthy:
            sizes[one.name] = size - healthy
            spare -= healthy
    return sizes
