"""The sockets to an API server: made so that a dead peer is noticed, and all gone when the client is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import weakref
from dataclasses import dataclass, field
from typing import Any, Final

CLOSING_S: Final = 1.0
"""The longest wait for sockets to close; they need a step or two of the event loop."""

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
"""What getaddrinfo gives."""


@dataclass(slots=True)
class Connections:
    """Makes the sockets of one client (aiohttp's `socket_factory`), and can end them all.

    aiohttp lets a TLS connection that is closed in mid-answer say farewell on its own, outliving the session; with a
    server that does not answer, or an event loop that ends, such a socket would be left open.
    """

    _sockets: weakref.WeakSet[socket.socket] = field(default_factory=weakref.WeakSet)

    def make(self, address: AddressInfo) -> socket.socket:
        """Make a socket that the kernel drops when the peer is silent: first probe after 15 s, then 3 in 5 s each."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        self._sockets.add(made)
        return made

    async def end(self) -> None:
        """Shut every socket down and wait until its owner has closed it."""
        for open_one in self._open():
            with contextlib.suppress(OSError):  # it may not be connected any more
                open_one.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_S):
                while self._open():  # noqa: ASYNC110  # a socket's closing sets no event
                    await asyncio.sleep(0.001)

    def _open(self) -> list[socket.socket]:
        return [made for made in self._sockets if made.fileno() >= 0]
