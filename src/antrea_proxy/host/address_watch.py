"""Tells when addresses of the Node come and go, as the kernel says it (rtnetlink(7))."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

_ADDRESS_GROUPS: Final = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR, linux/rtnetlink.h
_SETTLE_S: Final = 0.05
"""Addresses seldom come alone."""


class AddressWatch:
    """Of the network namespace that the process is in. Nothing is missed between two calls."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    async def wait_for_change(self) -> None:
        """Return when an address came or went since the last call, or since the first one began."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.settimeout(0)
            self._socket.bind((0, _ADDRESS_GROUPS))
        await self._receive(self._socket)
        await asyncio.sleep(_SETTLE_S)
        self._drain(self._socket)

    def close(self) -> None:
        """Watch no longer."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    async def _receive(sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
        except OSError:  # ENOBUFS: more has changed than the kernel could tell
            return

    @staticmethod
    def _drain(sock: socket.socket) -> None:
        try:
            while sock.recv(1 << 16):
                pass
        except OSError:  # nothing is left
            return
