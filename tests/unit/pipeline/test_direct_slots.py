"""Which Node has which slot in DSR mode, and who is asked about a connection that its Node does not know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.pipeline.direct_slots import (
    MIN_BITS,
    MOST_FORMER,
    SLOTS_PER_NODE,
    History,
    bits_of,
    node_key,
    slot_bits,
    slot_owners,
)

NODES = [f"node-{number}" for number in range(1, 9)]
weights = st.dictionaries(st.sampled_from(NODES), st.integers(0, 20), max_size=8)
some_weight = weights.filter(lambda found: any(found.values()))


@given(weights, st.integers(6, 9))
def test_every_slot_has_a_node_and_no_node_without_endpoints_has_one(given_weights: dict[str, int], bits: int) -> None:
    usable = {name for name, weight in given_weights.items() if weight}
    found = slot_owners(given_weights, bits)
    assert len(found) == (1 << bits if usable else 0)
    assert set(found) <= usable


@given(some_weight)
def test_slots_follow_the_weights(given_weights: dict[str, int]) -> None:
    found = slot_owners(given_weights, 10)
    total = sum(given_weights.values())
    for name, weight in given_weights.items():
        assert abs(found.count(name) - 1024 * weight / total) <= len(given_weights)


@given(weights, st.randoms())
def test_every_agent_comes_to_the_same(given_weights: dict[str, int], random: object) -> None:
    shuffled = list(given_weights.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert slot_owners(dict(shuffled), 6) == slot_owners(given_weights, 6)


def test_a_node_that_goes_moves_few_slots_of_the_others() -> None:
    before = slot_owners(dict.fromkeys(NODES, 3), 7)
    after = slot_owners(dict.fromkeys(NODES[:-1], 3), 7)
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != NODES[-1])
    assert moved <= 0.25 * len(before)


def test_one_endpoint_more_moves_few_slots() -> None:
    before = slot_owners({"node-1": 10, "node-2": 10, "node-3": 10}, 6)
    after = slot_owners({"node-1": 11, "node-2": 10, "node-3": 10}, 6)
    assert sum(old != new for old, new in zip(before, after, strict=True)) <= 12


def test_slots_stay_below_sixteen_for_a_node_and_are_never_too_few() -> None:
    for nodes in range(1, 1000):
        assert 1 << slot_bits(nodes) <= max(1 << MIN_BITS, SLOTS_PER_NODE * nodes)
        assert slot_bits(nodes) >= MIN_BITS


def test_with_session_affinity_the_address_alone_decides() -> None:
    assert bits_of(3, is_tcp=True, remembers=True).port == 0
    assert bits_of(3, is_tcp=True, remembers=False).address == 0
    assert bits_of(3, is_tcp=False, remembers=False).address > 0


@given(st.lists(some_weight, min_size=1, max_size=12))
def test_whoever_had_a_slot_lately_is_asked_and_its_owner_is_not(changes: list[dict[str, int]]) -> None:
    """Whoever had a connection's slot is among those who are asked, unless more than four had it since."""
    history = History()
    past: list[tuple[str, ...]] = []
    for change in changes:
        now = slot_owners(change, 6)
        past.append(now)
        history = history.moved(now)
    for slot, owner in enumerate(history.owners):
        latest_first = list(dict.fromkeys(states[slot] for states in reversed(past)))
        assert latest_first[0] == owner
        assert list(history.former[slot]) == latest_first[1 : 1 + MOST_FORMER]


@given(st.lists(st.tuples(some_weight, st.integers(6, 8)), min_size=2, max_size=6))
def test_another_number_of_slots_forgets_no_owner(changes: list[tuple[dict[str, int], int]]) -> None:
    """A connection whose slot was s among many is found by the lower bits of s, and the reverse."""
    history = History()
    for change, bits in changes:
        before, history = history, history.moved(slot_owners(change, bits))
        count = max(len(before.owners), len(history.owners))
        for wide in range(count if before.owners else 0):
            owner = before.owners[wide % len(before.owners)]
            slot = wide % len(history.owners)
            asked = (history.owners[slot], *history.former[slot])
            assert owner in asked or len(history.former[slot]) == MOST_FORMER


def test_nodes_are_told_apart_by_a_register() -> None:
    keys = {node_key(f"node-{number}") for number in range(10_000)}
    assert len(keys) == 10_000
    assert 0 not in keys
