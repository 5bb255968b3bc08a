"""The switch's configuration: bridge, ports and external_ids in the Open vSwitch database.

Never speaks OpenFlow, and knows nothing of Services.
"""

from antrea_proxy.ovsdb.control import (
    accept_any_sequence,
    check_sequences_again,
    control,
    control_socket,
    revalidated,
    switch_version,
    tracked_connections,
)
from antrea_proxy.ovsdb.database import OURS, Database
from antrea_proxy.ovsdb.datapath import choose_datapath_type, kernel_has_openvswitch
from antrea_proxy.ovsdb.errors import (
    BridgeError,
    OvsdbError,
    OvsdbProtocolError,
    OvsdbRefused,
    OvsdbUnavailable,
    PortError,
    SwitchTimeout,
)
from antrea_proxy.ovsdb.rows import PROTOCOLS, Bridge, BridgePort

__all__ = [
    "OURS",
    "PROTOCOLS",
    "Bridge",
    "BridgeError",
    "BridgePort",
    "Database",
    "OvsdbError",
    "OvsdbProtocolError",
    "OvsdbRefused",
    "OvsdbUnavailable",
    "PortError",
    "SwitchTimeout",
    "accept_any_sequence",
    "check_sequences_again",
    "choose_datapath_type",
    "control",
    "control_socket",
    "kernel_has_openvswitch",
    "revalidated",
    "switch_version",
    "tracked_connections",
]
