"""Which endpoints a load balancer uses: decided for the candidates of many load balancers at once, on columns."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.columns import ADDRESS, NOTHING, Condition
from antrea_proxy.proxy.topology import left_to_others

CANDIDATE: Final = np.dtype(
    [
        ("load_balancer", "<i4"),
        ("address", ADDRESS),
        ("port", "<u2"),
        ("conditions", "u1"),
        ("node", "<i4"),
        ("hints", "<i4"),
        ("source", "<i4"),
        ("row", "<i4"),
        ("verdict", "u1"),
    ]
)
"""An endpoint of a load balancer's Service; `source` and `row` say in which EndpointSlice it stood, and where."""

Candidates = NDArray[np.void]

OWN_ADDRESS: Final = np.dtype([("load_balancer", "<i4"), ("address", ADDRESS), ("port", "<u2")])
"""An address and port at which a load balancer itself is reached, ordered by load balancer."""

OwnAddresses = NDArray[np.void]


class Verdict(IntEnum):
    """Why an endpoint is in or out. The first two are in."""

    READY = 0
    TERMINATING_BUT_SERVING = 1
    NOT_READY = 2
    TERMINATING = 3
    NOT_SERVING = 4
    OTHER_NODE = 5
    DUPLICATE = 6
    UNREADABLE = 7
    OWN_ADDRESS = 8
    FOR_OTHER_NODES = 9
    FOR_OTHER_ZONES = 10

    @property
    def used(self) -> bool:
        """Whether connections go to the endpoint."""
        return self <= Verdict.TERMINATING_BUT_SERVING

    @property
    def explanation(self) -> str:
        """The verdict in words."""
        return _EXPLANATIONS[self]


_EXPLANATIONS: Final = {
    Verdict.READY: "ready",
    Verdict.TERMINATING_BUT_SERVING: "terminating but still serving, and no endpoint is ready",
    Verdict.NOT_READY: "not ready",
    Verdict.TERMINATING: "terminating, and other endpoints are ready",
    Verdict.NOT_SERVING: "terminating and no longer serving",
    Verdict.OTHER_NODE: "on another Node, and the traffic policy is Local",
    Verdict.DUPLICATE: "the same address and port stands in another EndpointSlice, too",
    Verdict.UNREADABLE: "its address cannot be read",
    Verdict.FOR_OTHER_NODES: "ready, but its hints give it to other Nodes",
    Verdict.FOR_OTHER_ZONES: "ready, but its hints give it to other zones",
    Verdict.OWN_ADDRESS: "it is the Service's own address and port: connections would go in a circle",
}


def sort_and_judge(
    candidates: Candidates,
    *,
    this_node: int,
    reach: NDArray[np.uint8],
    local_only: NDArray[np.bool_],
    own: OwnAddresses,
) -> Candidates:
    """Order candidates by load balancer, address and port, and give each its verdict.

    `local_only` tells of each load balancer whether its scope is this Node, `own` holds its own addresses and ports;
    `this_node` is this Node's number, `reach` what hints say to it. Rules: ready endpoints that the topology allows; if
    none is ready, those serving and terminating (KEP 1669); locally the same among this Node's endpoints,
    whatever their hints (KEP 2086). An address and port that comes twice counts once: ready beats serving beats the
    rest.
    """
    count = len(local_only)
    conditions = candidates["conditions"]
    rank = first_that_holds(
        ((conditions & Condition.READY) != 0, 0), ((conditions & Condition.SERVING) != 0, 1), otherwise=2
    )
    candidates = candidates[_order(candidates, rank)]
    owner = candidates["load_balancer"]
    conditions = candidates["conditions"]

    unreadable = (conditions & Condition.UNREADABLE) != 0
    duplicate = _repeats(candidates)
    circular = _circular(candidates, own, count)
    nowhere = candidates["node"] == NOTHING
    elsewhere = local_only[owner] & ((candidates["node"] != this_node) | nowhere)
    possible = ~(unreadable | duplicate | circular | elsewhere)

    ready = (conditions & Condition.READY) != 0
    serving = (conditions & Condition.SERVING) != 0
    terminating = (conditions & Condition.TERMINATING) != 0
    any_ready = np.bincount(owner[possible & ready], minlength=count) > 0
    other_nodes, other_zones = left_to_others(
        owner, possible & ready & ~local_only[owner], reach[candidates["hints"]], count=count
    )
    candidates["verdict"] = first_that_holds(
        (unreadable, Verdict.UNREADABLE),
        (duplicate, Verdict.DUPLICATE),
        (circular, Verdict.OWN_ADDRESS),
        (elsewhere, Verdict.OTHER_NODE),
        (other_nodes, Verdict.FOR_OTHER_NODES),
        (other_zones, Verdict.FOR_OTHER_ZONES),
        (ready, Verdict.READY),
        (serving & terminating & ~any_ready[owner], Verdict.TERMINATING_BUT_SERVING),
        (serving & terminating, Verdict.TERMINATING),
        (terminating, Verdict.NOT_SERVING),
        otherwise=Verdict.NOT_READY,
    )
    return candidates


def first_that_holds(*rules: tuple[NDArray[np.bool_], int], otherwise: int) -> NDArray[np.uint8]:
    """Of each row, the value of the first rule that holds: numpy.select, at a fifth of its time for a few rows."""
    values = np.full(len(rules[0][0]), otherwise, np.uint8)
    for holds, value in reversed(rules):
        values[holds] = value
    return values


def _circular(ordered: Candidates, own: OwnAddresses, count: int) -> NDArray[np.bool_]:
    """Which candidates are an address and port of their own load balancer: all its addresses, one turn for each."""
    answer = np.zeros(len(ordered), np.bool_)
    starts = np.searchsorted(own["load_balancer"], np.arange(count + 1))
    counts = np.diff(starts)
    for turn in range(int(counts.max(initial=0))):
        rows = np.minimum(starts[:-1] + turn, len(own) - 1)
        here = own[rows][ordered["load_balancer"]]
        equal = (ordered["address"] == here["address"]) & (ordered["port"] == here["port"])
        answer |= equal & (counts > turn)[ordered["load_balancer"]]
    return answer


def _repeats(ordered: Candidates) -> NDArray[np.bool_]:
    repeats = np.zeros(len(ordered), np.bool_)
    if len(ordered) > 1:
        here, before = ordered[1:], ordered[:-1]
        repeats[1:] = (
            (here["load_balancer"] == before["load_balancer"])
            & (here["port"] == before["port"])
            & (here["address"] == before["address"])
        )
    return repeats


def _order(candidates: Candidates, rank: NDArray[Any]) -> NDArray[np.intp]:
    """The order by load balancer, address, port and rank; a key that is the same everywhere costs nothing."""
    halves = np.ascontiguousarray(candidates["address"]).view(">u8").astype(np.uint64).reshape(-1, 2)
    keys = (rank, candidates["port"], halves[:, 1], halves[:, 0], candidates["load_balancer"])
    varying = [key for key in keys if len(key) and (key != key[0]).any()]
    return np.lexsort(varying) if varying else np.arange(len(candidates))
