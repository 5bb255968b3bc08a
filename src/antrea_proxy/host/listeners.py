"""Reads which ports of the Node sockets wait on, from the kernel's tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from antrea_proxy.host.facts import Listener

_STATE_OF_A_LISTENER = {
    "TCP": "0A",
    "UDP": "07",
}  # TCP_LISTEN, and TCP_CLOSE for a socket without a peer (tcp_states.h)
_LOOPBACK = frozenset({"0100007F", "00000000000000000000000001000000"})  # as the kernel writes them on little-endian


def read_listeners(text: str, protocol: str) -> frozenset[Listener]:
    """Read /proc/net/tcp, tcp6, udp or udp6 (proc(5)); those on the loopback address alone are left out."""
    return frozenset(_listeners(text, protocol))


def _listeners(text: str, protocol: str) -> Iterator[Listener]:
    for line in text.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, _, port = local.partition(":")
        if state == _STATE_OF_A_LISTENER[protocol] and address not in _LOOPBACK:
            yield Listener(protocol=protocol, port=int(port, 16))
