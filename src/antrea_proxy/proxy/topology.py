"""Topology hints: which ready endpoints a Node leaves to others (KEP 2433, KEP 3015, KEP 4444).

Only the hints of EndpointSlices are read, never spec.trafficDistribution, which the slice controller turns into hints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.objects import EndpointHints


class Reach(IntFlag):
    """What an endpoint's hints say to one Node."""

    FOR_NODES = 1
    FOR_THIS_NODE = 2
    FOR_ZONES = 4
    FOR_THIS_ZONE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a Node is; `zone` is empty where it bears no topology.kubernetes.io/zone label."""

    node: str
    zone: str = ""


def reach_of(hints: Sequence[EndpointHints], place: Place) -> NDArray[np.uint8]:
    """The Reach of each hint by its number, and of no hint at all in the last place (number -1)."""
    return np.array([*(_reach(hint, place) for hint in hints), 0], np.uint8)


def left_to_others(
    load_balancer: NDArray[np.int32], eligible: NDArray[np.bool_], reach: NDArray[np.uint8], *, count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of the eligible (ready) endpoints are for other Nodes, and which are for other zones.

    A kind of hint counts only for a load balancer whose every ready endpoint carries it, and of which at least one is
    for this Node or zone. Hints for Nodes go before hints for zones.
    """
    by_node = _applies(
        load_balancer, eligible, reach, carried=Reach.FOR_NODES, matching=Reach.FOR_THIS_NODE, count=count
    )
    by_zone = ~by_node & _applies(
        load_balancer, eligible, reach, carried=Reach.FOR_ZONES, matching=Reach.FOR_THIS_ZONE, count=count
    )
    other_nodes = eligible & by_node[load_balancer] & ((reach & Reach.FOR_THIS_NODE) == 0)
    other_zones = eligible & by_zone[load_balancer] & ((reach & Reach.FOR_THIS_ZONE) == 0)
    return other_nodes, other_zones


def _reach(hint: EndpointHints, place: Place) -> int:
    nodes = {item.name for item in hint.for_nodes}
    zones = {item.name for item in hint.for_zones}
    said = Reach(0)
    if nodes:
        said |= Reach.FOR_NODES
    if place.node in nodes:
        said |= Reach.FOR_THIS_NODE
    if zones:
        said |= Reach.FOR_ZONES
    if place.zone in zones:
        said |= Reach.FOR_THIS_ZONE
    return said


def _applies(
    load_balancer: NDArray[np.int32],
    eligible: NDArray[np.bool_],
    reach: NDArray[np.uint8],
    *,
    carried: Reach,
    matching: Reach,
    count: int,
) -> NDArray[np.bool_]:
    """For each load balancer, whether this kind of hint counts."""
    without = np.bincount(load_balancer[eligible & ((reach & carried) == 0)], minlength=count)
    ours = np.bincount(load_balancer[eligible & ((reach & matching) != 0)], minlength=count)
    answer: NDArray[np.bool_] = (without == 0) & (ours > 0)
    return answer
