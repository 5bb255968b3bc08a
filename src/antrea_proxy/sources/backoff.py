"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

FIRST_S: Final = 0.2
CAP_S: Final = 30.0
RETRY_AFTER_CAP_S: Final = 300.0
"""A server that asks for a longer pause than this is asked again all the same."""


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Full jitter: a random time up to a bound that doubles with each failure in a row, from `first_s` to `cap_s`.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog: of the jitters, full needs the fewest requests.
    """

    first_s: float = FIRST_S
    cap_s: float = CAP_S
    random: random.Random = field(default_factory=random.SystemRandom)
    failures: int = field(default=0, init=False)

    def succeeded(self) -> None:
        """Start over."""
        self.failures = 0

    def failed(self, *, at_least_s: float | None = None) -> float:
        """Count a failure and give the seconds to wait; `at_least_s` is what the server asked for."""
        bound = min(self.cap_s, self.first_s * 2 ** min(self.failures, 16))
        self.failures += 1
        return self.random.uniform(0, bound) + min(at_least_s or 0.0, RETRY_AFTER_CAP_S)
