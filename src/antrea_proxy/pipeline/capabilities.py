"""What a switch cannot do, told as reasons that people can read."""

from __future__ import annotations

import re
from typing import Final

from antrea_proxy.proxy.frontends import Protocol

_SCTP_IN_USERSPACE: Final = (3, 2)
"""The first Open vSwitch whose userspace connection tracker reads SCTP ports."""


def unsupported_protocols(*, datapath_type: str, ovs_version: str) -> dict[Protocol, str]:
    """The protocols that Services cannot have on this switch, each with the reason."""
    numbers = tuple(map(int, re.findall(r"\d+", ovs_version)[:2]))
    if datapath_type == "netdev" and numbers < _SCTP_IN_USERSPACE:
        reason = f"Open vSwitch {ovs_version} does not track SCTP in its userspace datapath (3.2 does)"
        return {Protocol.SCTP: f"{reason}; use ovsDatapathType: system, or a newer Open vSwitch"}
    return {}
