"""What this room raises, and the one place where a number is held against its width."""

from __future__ import annotations


class OpenFlowError(Exception):
    """The base of every error of the OpenFlow room."""


class InvalidValueError(OpenFlowError, ValueError):
    """A message, match or action that OpenFlow has no bytes for; names the object, the field and the value."""


class DecodeError(OpenFlowError):
    """Bytes that are no OpenFlow 1.5 message; names the structure, the offset or length, and what was expected."""


class StateError(OpenFlowError):
    """A call that the connection's state does not permit; names the state and what to wait for."""


def require_bits(owner: str, name: str, value: int, bits: int) -> None:
    """Hold `value` against an unsigned field of `bits` bits.

    Raises InvalidValueError, naming `owner` and `name`, if it does not fit.
    """
    if value < 0 or value >> bits:
        raise InvalidValueError(f"{owner}: {name} = {value} does not fit; it must be 0 to {(1 << bits) - 1:#x}")
