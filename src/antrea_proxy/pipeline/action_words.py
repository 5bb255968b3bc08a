"""Actions as ovs-actions(7) writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from antrea_proxy.openflow import constants
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    ConntrackClear,
    CopyField,
    DecrementTtl,
    Group,
    Learn,
    Nat,
    Output,
    OutputRegister,
    Resubmit,
    SetField,
    UnknownAction,
)
from antrea_proxy.openflow.constants import NatKind

_PORTS: Final = {
    constants.OFPP_IN_PORT: "IN_PORT",
    constants.OFPP_NORMAL: "NORMAL",
    constants.OFPP_FLOOD: "FLOOD",
    constants.OFPP_ALL: "ALL",
    constants.OFPP_CONTROLLER: "CONTROLLER",
    constants.OFPP_LOCAL: "LOCAL",
}


def actions_text(actions: Sequence[Action]) -> str:
    """Write actions one after the other; none is `drop`."""
    return ",".join(map(_text, actions)) or "drop"


def _text(action: Action) -> str:  # noqa: C901, PLR0911, PLR0912 - one case for every action there is
    match action:
        case Output():
            return _PORTS.get(action.port, f"output:{action.port}")
        case OutputRegister():
            return f"output:{_bits(action.field.name, action.offset, action.width, action.field.bits)}"
        case Group():
            return f"group:{action.group_id}"
        case SetField():
            mask = "" if action.mask is None else f"/{action.mask:#x}"
            return f"set_field:{action.field.text(action.value)}{mask}->{action.field}"
        case CopyField():
            source = _bits(action.src.name, action.src_offset, action.n_bits, action.src.bits)
            target = _bits(action.dst.name, action.dst_offset, action.n_bits, action.dst.bits)
            return f"move:{source}->{target}"
        case DecrementTtl():
            return "dec_ttl"
        case Resubmit():
            port = "" if action.in_port == constants.OFPP_IN_PORT else str(action.in_port)
            return f"resubmit({port},{action.table})"
        case Conntrack():
            return _conntrack(action)
        case Nat():
            return _nat(action)
        case ConntrackClear():
            return "ct_clear"
        case Learn():
            return f"learn(table={action.table},priority={action.priority},...)"
        case UnknownAction():
            return f"unknown:{action.data.hex()}"
        case _:
            assert_never(action)


def _conntrack(action: Conntrack) -> str:
    words = ["commit"] if action.commit else []
    words += ["force"] if action.force else []
    words += [] if action.table is None else [f"table={action.table}"]
    words.append(f"zone={action.zone}")
    words += [_nat(part) for part in action.actions if isinstance(part, Nat)]
    within = [_text(part) for part in action.actions if not isinstance(part, Nat)]
    words += [f"exec({','.join(within)})"] if within else []
    return f"ct({','.join(words)})"


def _nat(action: Nat) -> str:
    if action.kind is NatKind.RESTORE:
        return "nat"
    address = "" if action.address_min is None else str(action.address_min)
    if action.address_max is not None and action.address_max != action.address_min:
        address += f"-{action.address_max}"
    if action.port_min is not None:
        address = f"[{address}]" if ":" in address else address
        address += f":{action.port_min}"
        if action.port_max is not None and action.port_max != action.port_min:
            address += f"-{action.port_max}"
    return f"nat({action.kind.name.lower()}={address})"


def _bits(name: str, offset: int, count: int, width: int) -> str:
    return f"{name}[]" if count == width else f"{name}[{offset}..{offset + count - 1}]"
