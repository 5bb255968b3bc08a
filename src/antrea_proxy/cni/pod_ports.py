"""How the userspace datapath reads and writes Pods' interfaces (Open vSwitch, "Using Open vSwitch with AF_XDP")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PodPorts(StrEnum):
    """What a user chooses from."""

    AF_PACKET = "afpacket"
    """Through a packet socket beside the kernel."""
    AF_XDP = "afxdp"
    """Through rings shared with the interface, which the kernel's own stack does not see any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortKind:
    """`type` and `options` of an Interface (ovs-vswitchd.conf.db(5))."""

    type: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def port_kind(chosen: PodPorts, datapath_type: str) -> PortKind:
    """Give the kind of a new Pod's port; the kernel's datapath has one alone.

    A veth's XDP program runs in its driver (`native`), and a veth has one queue. Without `nonpmd` a thread of its own
    would poll the ports day and night.
    """
    if chosen is PodPorts.AF_XDP and datapath_type == "netdev":
        return PortKind(type="afxdp-nonpmd", options={"xdp-mode": "native", "n_rxq": "1"})
    return PortKind()
