"""What callers say of bridges and ports, and what they get to see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from antrea_proxy.network.interfaces import OfPort

PROTOCOLS = ("OpenFlow13", "OpenFlow15")
"""What every bridge of ours speaks: 1.5 for ourselves, 1.3 for the people who look at it with older tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A bridge as the database has it. `datapath_id` is empty where ovs-vswitchd has not made the bridge."""

    name: str
    datapath_type: str
    datapath_id: str
    fail_mode: str
    protocols: frozenset[str]
    other_config: Mapping[str, str]
    external_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePort:
    """A port as the database has it.

    `ofport` is None where ovs-vswitchd could not make the port, or has not yet; `error` then says why. `mac_in_use` is
    the address of its device, empty for a tunnel.
    """

    name: str
    type: str
    ofport: OfPort | None
    mac_in_use: str
    error: str
    options: Mapping[str, str]
    external_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSpec:
    """What a bridge should be. `hwaddr` fixes the address of its own port; None leaves it to Open vSwitch."""

    name: str
    datapath_type: str
    fail_mode: str = "secure"
    protocols: tuple[str, ...] = PROTOCOLS
    hwaddr: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """What a port should be; see ovs-vswitchd.conf.db(5), table Interface.

    `options` is exact. `external_ids` is what must be there: the keys of others stay.
    """

    bridge: str
    name: str
    type: str = ""
    ofport_request: int | None = None
    mac: str | None = None
    mtu_request: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    external_ids: Mapping[str, str] = field(default_factory=dict)
