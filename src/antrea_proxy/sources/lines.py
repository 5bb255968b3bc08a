"""Bytes as they arrive -> whole lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from antrea_proxy.sources.errors import UnreachableError

LONGEST_LINE: Final = 32 << 20
"""Bytes: twenty times what etcd stores of one object (1.5 MiB); what is longer is not a Kubernetes watch."""


@dataclass(slots=True)
class Lines:
    """Keeps the beginning of a line until its end has come."""

    _pieces: list[bytes] = field(default_factory=list)
    _length: int = 0

    @property
    def incomplete(self) -> bool:
        """Whether a line has begun and not ended."""
        return self._length > 0

    def split(self, data: bytes) -> list[bytes]:
        """Take more bytes and give the lines that are whole now, without the empty ones.

        Raises UnreachableError for a line of more than LONGEST_LINE bytes.
        """
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        whole = b"".join((*self._pieces, head))
        self._pieces, self._length = [], 0
        self._keep(rest)
        return [line for line in whole.split(b"\n") if line.strip()]

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._length += len(data)
        if self._length > LONGEST_LINE:
            raise UnreachableError(f"a line of a watch has over {LONGEST_LINE} bytes: the server is no API server")
