"""Which datapath a bridge gets."""

from __future__ import annotations

import pytest

from antrea_proxy.ovsdb.datapath import choose_datapath_type
from antrea_proxy.ovsdb.errors import BridgeError

BOTH = frozenset({"system", "netdev"})


@pytest.mark.parametrize(
    ("configured", "offered", "kernel_has_it", "chosen"),
    [
        ("auto", BOTH, True, "system"),
        ("auto", BOTH, False, "netdev"),
        ("auto", frozenset({"netdev"}), True, "netdev"),
        ("netdev", BOTH, True, "netdev"),
        ("system", BOTH, True, "system"),
    ],
)
def test_auto_takes_the_kernels_datapath_where_there_is_one(
    configured: str, offered: frozenset[str], chosen: str, *, kernel_has_it: bool
) -> None:
    """And whatever is named is taken at its word."""
    assert choose_datapath_type(configured, offered=offered, kernel_has_it=kernel_has_it) == chosen


@pytest.mark.parametrize(
    ("configured", "offered"), [("system", BOTH), ("dpdk", BOTH), ("system", frozenset({"netdev"}))]
)
def test_a_datapath_that_cannot_be_is_refused_by_its_key(configured: str, offered: frozenset[str]) -> None:
    """With what could be."""
    with pytest.raises(BridgeError, match=f"ovsDatapathType: {configured}"):
        choose_datapath_type(configured, offered=offered, kernel_has_it=False)
