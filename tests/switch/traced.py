"""Compiled tables in a real switch, and packets traced there and walked in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from antrea_proxy.openflow.constants import CtState
from antrea_proxy.openflow.events import BundleCommitted
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.switch_trace import SwitchTrace, parse_trace, trace_arguments
from antrea_proxy.pipeline.units import Owner, Unit
from antrea_proxy.pipeline.walk import walk
from antrea_proxy.pipeline.walk_steps import Walk, WasTracked
from switch.openflow_client import OpenFlowClient
from switch.ovs import BRIDGE, Switch
from worlds import PODS

PORTS: Final = {"antrea-tun0": 1, "antrea-gw0": 2, "antrea-refuse0": 3} | {
    pod.host_interface: pod.ofport for pod in PODS
}
"""The ports of the Node of tests/worlds.py."""


def add_ports(switch: Switch) -> None:
    """Give the switch these ports."""
    for name, number in PORTS.items():
        kind = ["type=geneve", "options:remote_ip=flow", "options:key=flow"] if number == 1 else ["type=internal"]
        interface = ("set", "interface", name, *kind, f"ofport_request={number}")
        switch.vsctl("add-port", BRIDGE, name, "--", *interface)


def write(switch: Switch, units: Mapping[Owner, Unit]) -> None:
    """Commit all flows and groups, groups first."""
    messages = [group.message for unit in units.values() for group in unit.groups]
    messages += [entry.message for unit in units.values() for entry in unit.flows]
    with OpenFlowClient(switch.management) as client:
        for start in range(0, len(messages), 500):
            outcome = client.commit(messages[start : start + 500])
            assert isinstance(outcome, BundleCommitted), outcome


def walk_and_trace(switch: Switch, tables: CompiledTables, first: Packet) -> tuple[Walk, SwitchTrace]:
    """Walk a packet as the tracker knows it, and trace it in the switch with the same answers of the tracker."""
    once = walk(tables, first)
    states = [event.state & ~(CtState.SNAT | CtState.DNAT) for event in once.events if isinstance(event, WasTracked)]
    traced = parse_trace(switch.appctl(*trace_arguments(BRIDGE, first, states=states)))
    return walk(tables, first, choose=traced.choose), traced
