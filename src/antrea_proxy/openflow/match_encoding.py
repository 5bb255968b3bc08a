"""Matches to bytes (OpenFlow 1.5.1 section 7.2.3).

A match is written in the form in which Open vSwitch writes it back (lib/nx-match.c, nx_put_raw): its order of fields,
and registers in pairs.
"""

from __future__ import annotations

import struct
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.match import Condition, Match
from antrea_proxy.openflow.packing import padded


def field_header(field: Field, *, masked: bool = False, with_value: bool = True) -> bytes:
    """Return the OXM header of `field`; where no value follows, its length is that of a value (section 7.2.3.2)."""
    length = field.length * (2 if masked and with_value else 1)
    if field.experimenter is not None:
        length += 4
    header = struct.pack("!HBB", field.oxm_class, field.number << 1 | masked, length)
    return header if field.experimenter is None else header + struct.pack("!I", field.experimenter)


def nicira_header(field: Field) -> bytes:
    """Return the header by which learn() and output to a register name a field (nicira-ext.h)."""
    oxm_class, number = field.nicira_header or (field.oxm_class, field.number)
    return struct.pack("!HBB", oxm_class, number << 1, field.length)


def condition_bytes(field: Field, value: int, mask: int | None) -> bytes:
    """Return one OXM field with its value, and its mask if it has one."""
    encoded = field_header(field, masked=mask is not None) + value.to_bytes(field.length, "big")
    return encoded if mask is None else encoded + mask.to_bytes(field.length, "big")


def match_bytes(match: Match) -> bytes:
    """Return the conditions of `match` without header and padding: FlowDesc.match_bytes of a flow that has it."""
    written: list[bytes] = []
    registers: dict[Field, Condition] = {}
    for condition in match:
        if condition.field in _PLACE_OF_REGISTER:
            registers[condition.field] = condition
            continue
        if condition.field in _AFTER_REGISTERS and registers:
            written.extend(_register_pairs(registers))
            registers = {}
        written.append(condition_bytes(*condition))
    written.extend(_register_pairs(registers))
    return b"".join(written)


_PLACE_OF_REGISTER: Final = {register: index for index, register in enumerate(fields.REGISTERS)}
_AFTER_REGISTERS: Final = frozenset(fields.ALL[fields.ALL.index(fields.XXREG3) + 1 :])


def _register_pairs(registers: dict[Field, Condition]) -> list[bytes]:
    pairs: dict[int, tuple[int, int]] = {}
    for register, condition in registers.items():
        index = _PLACE_OF_REGISTER[register]
        shift = 0 if index % 2 else 32
        value, mask = pairs.get(index // 2, (0, 0))
        own_mask = register.all_ones if condition.mask is None else condition.mask
        pairs[index // 2] = (value | condition.value << shift, mask | own_mask << shift)
    result = []
    for index, (value, mask) in sorted(pairs.items()):
        pair = fields.XREGISTERS[index]
        result.append(condition_bytes(pair, value, None if mask == pair.all_ones else mask))
    return result


def encode_match(match: Match) -> bytes:
    """`match` with its header, padded to 8 bytes (section 7.2.3.1)."""
    conditions = match_bytes(match)
    return padded(struct.pack("!HH", 1, 4 + len(conditions)) + conditions)
