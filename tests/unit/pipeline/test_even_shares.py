"""Shares of endpoints: bucket weights as Open vSwitch turns them into hash values, and slot tables."""

from __future__ import annotations

from collections import Counter

import pytest

from antrea_proxy.pipeline import shares, slots


def hash_values(weights: tuple[int, ...]) -> list[int]:
    """How Open vSwitch gives hash values to buckets: Webster's method over a power of two (ofproto-dpif.c, 3.1)."""
    needed = -(-sum(weights) // min(weights))
    size = max(16, 1 << (needed - 1).bit_length())
    assert size <= 256, "Open vSwitch would fall back to its slow path"
    won = [0] * len(weights)
    for _ in range(size):
        best = max(range(len(weights)), key=lambda bucket: weights[bucket] / (2 * won[bucket] + 1))
        won[best] += 1
    return won


@pytest.mark.parametrize("count", [count for count in range(2, 257) if not slots.needs_slots(count)])
def test_a_group_gives_every_endpoint_a_share_within_an_eighth_of_any_other(count: int) -> None:
    values = hash_values(shares.weights(count))
    per_endpoint = Counter[int]()
    for bucket, number in enumerate(values):
        per_endpoint[bucket % count] += number
    assert max(per_endpoint.values()) <= 9 / 8 * min(per_endpoint.values())


@pytest.mark.parametrize("count", [33, 65, 100, 257, 1000])
def test_a_slot_table_gives_every_endpoint_the_same_number_of_slots_or_one_more(count: int) -> None:
    assert slots.needs_slots(count)
    per_endpoint = Counter(slots.assign([b"endpoint %d" % index for index in range(count)], slots.slot_bits(count)))
    assert len(per_endpoint) == count
    assert max(per_endpoint.values()) - min(per_endpoint.values()) <= 1
    assert min(per_endpoint.values()) >= slots.SLOTS_PER_ENDPOINT


def test_one_endpoint_less_moves_few_slots_of_the_others() -> None:
    endpoints = [b"endpoint %d" % index for index in range(300)]
    bits = slots.slot_bits(len(endpoints))
    before = [endpoints[index] for index in slots.assign(endpoints, bits)]
    remaining = endpoints[:100] + endpoints[101:]
    after = [remaining[index] for index in slots.assign(remaining, bits)]
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != endpoints[100])
    assert moved < len(before) * 0.05
