"""Which datapath a bridge can have on this machine."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Set as AbstractSet

from antrea_proxy.ovsdb.errors import BridgeError

SYSTEM = "system"
NETDEV = "netdev"

_NETLINK_GENERIC = 16
_GENL_ID_CTRL = 0x10
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_NAME = 2
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_FAMILY = b"ovs_datapath\0"


def choose_datapath_type(configured: str, *, offered: AbstractSet[str], kernel_has_it: bool) -> str:
    """Return `system` or `netdev`.

    `configured` is ovsDatapathType: `auto` takes the kernel's datapath where ovs-vswitchd offers it and the kernel has
    it. Whatever is named otherwise is taken at its word.
    Raises BridgeError when ovs-vswitchd does not offer it, or the kernel lacks what was named.
    """
    if configured == "auto":
        return SYSTEM if SYSTEM in offered and kernel_has_it else NETDEV
    if configured not in offered:
        raise BridgeError(f"ovsDatapathType: {configured}: this ovs-vswitchd offers {', '.join(sorted(offered))} only")
    if configured == SYSTEM and not kernel_has_it:
        raise BridgeError(
            "ovsDatapathType: system: this kernel has no Open vSwitch (modprobe openvswitch, or set auto or netdev)"
        )
    return configured


def kernel_has_openvswitch() -> bool:
    """Whether the kernel knows generic netlink's family `ovs_datapath`.

    Asking for the family makes the kernel load its module where it can, so a module that is there but not loaded
    counts, and one that only `/lib/modules` of a container lacks does not matter.
    """
    name = _FAMILY.ljust(-(-len(_FAMILY) // 4) * 4, b"\0")
    attribute = struct.pack("=HH", 4 + len(_FAMILY), _CTRL_ATTR_FAMILY_NAME) + name
    body = struct.pack("=BBH", _CTRL_CMD_GETFAMILY, 1, 0) + attribute
    header = struct.pack("=IHHII", 16 + len(body), _GENL_ID_CTRL, _NLM_F_REQUEST, 1, 0)
    with contextlib.suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC) as netlink:
        netlink.settimeout(5)
        netlink.sendall(header + body)
        _, kind = struct.unpack_from("=IH", netlink.recv(4096))
        return bool(kind != _NLMSG_ERROR)
    return False
