"""What the switch's kind and version allow, and what is written to it then."""

from __future__ import annotations

import pytest

from antrea_proxy.openflow.actions import Conntrack, Nat
from antrea_proxy.openflow.constants import NatKind
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.base_flows import compile_base
from antrea_proxy.pipeline.capabilities import may_choose_ports, unsupported_protocols
from antrea_proxy.pipeline.layout import Layout
from antrea_proxy.pipeline.tables import Table


@pytest.mark.parametrize(
    ("datapath_type", "ovs_version", "may"),
    [
        ("netdev", "2.17.9", False),
        ("netdev", "3.1.0", False),
        ("netdev", "3.2.4", False),
        ("netdev", "3.3.0", True),
        ("netdev", "3.10.1", True),
        ("system", "3.1.0", True),
    ],
)
def test_a_switch_that_would_abort_is_not_asked_to_choose_ports(
    datapath_type: str, ovs_version: str, *, may: bool
) -> None:
    """Its userspace tracker, before 3.3, does not survive a translation that leaves all as it was."""
    assert may_choose_ports(datapath_type=datapath_type, ovs_version=ovs_version) is may


@pytest.mark.parametrize(
    ("datapath_type", "ovs_version", "missing"),
    [("netdev", "3.1.0", 1), ("netdev", "3.2.0", 0), ("system", "3.1.0", 0)],
)
def test_sctp_is_missing_where_the_tracker_does_not_read_its_ports(
    datapath_type: str, ovs_version: str, missing: int
) -> None:
    assert len(unsupported_protocols(datapath_type=datapath_type, ovs_version=ovs_version)) == missing


@pytest.mark.parametrize("chooses_ports", [False, True])
def test_direct_connections_get_another_port_only_where_the_switch_can_choose_one(*, chooses_ports: bool) -> None:
    unit = compile_base(Layout(gateway_mac=1, tunnel=True, chooses_ports=chooses_ports))
    messages = [decode(entry.message)[0] for entry in unit.flows]
    commits = [
        action
        for message in messages
        if isinstance(message, FlowMod) and message.table == Table.COMMIT.id
        for action in message.actions
        if isinstance(action, Conntrack)
    ]
    assert commits
    for commit in commits:
        assert (Nat(kind=NatKind.SRC) in commit.actions) is chooses_ports
