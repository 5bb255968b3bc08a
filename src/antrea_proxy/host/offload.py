"""Turns off what a veth leaves to hardware that it does not have (ethtool(8), `-K DEV tx off`)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

from antrea_proxy.host.errors import KernelRefused

_SIOCETHTOOL = 0x8946  # linux/sockios.h
_ETHTOOL_STXCSUM = 0x17  # linux/ethtool.h


def disable_tx_checksum_offload(interface: str) -> None:
    """Make the kernel write checksums itself: a frame read through AF_PACKET has none otherwise, and counts as invalid.

    Works on the calling thread's network namespace. Raises KernelRefused.
    """
    value = array.array("B", struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
    except OSError as error:
        raise KernelRefused(
            f"interface {interface}: checksum offload cannot be turned off: {error.strerror}"
        ) from error
