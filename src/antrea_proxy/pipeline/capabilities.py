"""What a switch cannot do, told as reasons that people can read."""

from __future__ import annotations

import re
from typing import Final

from antrea_proxy.proxy.frontends import Protocol

_SCTP_IN_USERSPACE: Final = (3, 2)
"""The first Open vSwitch whose userspace connection tracker reads SCTP ports."""

_SAME_KEYS_IN_USERSPACE: Final = (3, 3)
"""The first Open vSwitch whose userspace tracker keeps a translation apart that leaves all as it was (1116459b3)."""


def may_choose_ports(*, datapath_type: str, ovs_version: str) -> bool:
    """Whether the tracker may be asked for another source port where a direct connection's replies would be ambiguous.

    Mostly it then translates nothing, which Open vSwitch's userspace datapath before 3.3 does not survive.
    """
    return datapath_type != "netdev" or _numbers(ovs_version) >= _SAME_KEYS_IN_USERSPACE


def unsupported_protocols(*, datapath_type: str, ovs_version: str) -> dict[Protocol, str]:
    """The protocols that Services cannot have on this switch, each with the reason."""
    if datapath_type == "netdev" and _numbers(ovs_version) < _SCTP_IN_USERSPACE:
        reason = f"Open vSwitch {ovs_version} does not track SCTP in its userspace datapath (3.2 does)"
        return {Protocol.SCTP: f"{reason}; use ovsDatapathType: system, or a newer Open vSwitch"}
    return {}


def _numbers(ovs_version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", ovs_version)[:2]))
