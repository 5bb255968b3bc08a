"""Even shares: the weights of a select group's buckets.

Open vSwitch spreads a dp_hash group's buckets over a table of hash values: the next power of two from total weight /
smallest weight, at least 16 and at most 256. With few values an endpoint the shares are uneven, up to 2:1; one small
bucket makes the table larger.
"""

from __future__ import annotations

from typing import Final

WEIGHT: Final = 100
"""An endpoint's weight."""

MAX_VALUES: Final = 256
"""Above, Open vSwitch falls back to a hash in its slow path, for every connection."""

VALUES_PER_ENDPOINT: Final = 32
"""Aimed at where the number of endpoints is no power of two: the shares then differ by 1/32 at most (3 %)."""

MIN_VALUES: Final = 16


def weights(count: int) -> tuple[int, ...]:
    """The weights of the buckets for `count` equal endpoints, and one more if the first endpoint has two.

    The second bucket of the first endpoint is the last.
    """
    table = power_of_two(max(count, MIN_VALUES))
    if not count & (count - 1):
        return (WEIGHT,) * count
    wanted = min(power_of_two(count * VALUES_PER_ENDPOINT), MAX_VALUES)
    if wanted <= table:
        return (WEIGHT,) * count
    small = -(-count * WEIGHT // wanted)
    return (WEIGHT - small, *(WEIGHT,) * (count - 1), small)


def power_of_two(number: int) -> int:
    """The power of two that is not less than `number`."""
    return 1 << (number - 1).bit_length()
