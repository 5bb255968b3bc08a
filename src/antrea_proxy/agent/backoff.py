"""Delays between attempts: they double, with jitter, up to a limit."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: `first`, doubled each time up to `limit`, each cut by up to a half at random."""

    first: float = 0.1
    limit: float = 30.0
    _attempts: int = 0

    def next_delay(self) -> float:
        """How long to wait before the next attempt."""
        delay = min(self.limit, self.first * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """Begin anew after a success."""
        self._attempts = 0
