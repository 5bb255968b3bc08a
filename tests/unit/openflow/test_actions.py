"""An action that the switch could not do is refused when it is made, naming its part and value."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import pytest

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    CopyField,
    Group,
    Learn,
    LearnLoad,
    LearnMatch,
    Nat,
    Output,
    OutputRegister,
    Resubmit,
    SetField,
)
from antrea_proxy.openflow.constants import GroupId, NatKind, TableId
from antrea_proxy.openflow.errors import InvalidValueError

_FOUR, _FIVE, _SIX = IPv4Address("10.0.0.4"), IPv4Address("10.0.0.5"), IPv6Address("fd00::6")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Output(1 << 32), "output: port"),
        (lambda: SetField(fields.CT_ZONE, 1 << 16), "set_field: ct_zone = 65536"),
        (lambda: SetField(fields.REG0, 3, 1), "outside its mask"),
        (lambda: SetField(fields.NW_TTL, 3, 7), "nw_ttl takes no mask"),
        (lambda: CopyField(fields.DP_HASH, fields.REG7, 33), r"dp_hash\[0..32\] is not within its 32 bits"),
        (lambda: CopyField(fields.DP_HASH, fields.REG7, 8, 0, 25), r"reg7\[25..32\]"),
        (lambda: OutputRegister(fields.REG0, offset=32), "reg0"),
        (lambda: Group(GroupId(0xFFFFFFFF)), "group: id"),
        (lambda: Resubmit(TableId(255)), "resubmit: table 255"),
        (lambda: Resubmit(TableId(1), 70000), "resubmit: port 70000 has no 16-bit form"),
        (lambda: Nat(NatKind.RESTORE, _FOUR), "without src or dst"),
        (lambda: Nat(NatKind.DST, None, None, 80), "without address_min"),
        (lambda: Nat(NatKind.DST, IPv4Address(0)), "0.0.0.0 is no address"),
        (lambda: Nat(NatKind.SRC, _FIVE, _FOUR), "is not a range of addresses"),
        (lambda: Nat(NatKind.SRC, _FOUR, _SIX), "of one family"),
        (lambda: Nat(NatKind.DST, _FOUR, port_min=0), "port_min is 0"),
        (lambda: Nat(NatKind.DST, _FOUR, port_min=9, port_max=8), "is not a range of ports"),
        (lambda: Nat(NatKind.DST, _FOUR, port_min=70000), "port_min = 70000 does not fit"),
        (lambda: Conntrack(1 << 16), "ct: zone"),
        (lambda: Conntrack(1, force=True), "force needs commit"),
        (lambda: Conntrack(1, actions=(SetField(fields.CT_MARK, 1),)), "need commit"),
        (lambda: Conntrack(1, TableId(255)), "ct: table 255"),
        (lambda: Learn(table=TableId(1), priority=1, hard_timeout=70000, specs=()), "hard_timeout = 70000"),
        (lambda: _learn(LearnMatch(fields.ETH_TYPE, 1 << 16)), "eth_type = 65536"),
        (lambda: _learn(LearnLoad(fields.REG0, fields.CT_ZONE)), "learn: ct_zone"),
    ],
)
def test_an_action_that_cannot_be_done_is_refused(make: Callable[[], Action], words: str) -> None:
    """An action that cannot be done is refused."""
    with pytest.raises(InvalidValueError, match=words):
        make()


def _learn(spec: LearnMatch | LearnLoad) -> Learn:
    return Learn(table=TableId(1), priority=1, specs=(spec,))
