"""What the pipeline keeps in registers and connection marks.

Every register that differs when a packet recirculates costs a megaflow of its own, so there are few, and those of the
slot tables are cleared at once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import SetField
from antrea_proxy.openflow.fields import Field

SOURCE: Final[Field] = fields.REG0
SOURCE_MASK: Final = 0xF

OUTPUT_PORT: Final[Field] = fields.REG1
"""The OpenFlow port that L3Forwarding chose."""

BALANCER: Final[Field] = fields.REG2
"""The load balancer whose slots or affinity is asked; 0 outside of that."""

SLOT: Final[Field] = fields.REG3
"""The slot of a new connection, or with session affinity the number of its endpoint; 0 outside of ServiceSlot."""

NODE: Final[Field] = fields.XREGISTERS[2]
"""The Node that a connection is sent on to in DSR mode, as `direct_slots.node_key`; 0 outside of that."""

DESTINATION: Final[Field] = fields.REG6
"""NODE_PORT for a new connection to an address at which NodePorts are served; 0 outside of ServiceLB."""

NODE_PORT: Final = 1

REFUSALS: Final[Field] = fields.REG7
"""How often the tracker gave a new connection back without a translation, up to MOST_REFUSALS; 0 outside of that."""

MOST_REFUSALS: Final = 3
"""With the look-up and the first translation 5 of the 6 passes that the userspace datapath lets a packet take
(MAX_RECIRC_DEPTH, lib/dpif-netdev.c); the last is left to the tunnel."""

CONNTRACK_ZONE: Final = 65520
"""The one zone, of both families: a connection is looked up once."""

SNAT_ZONE: Final = 65521
"""Of connections whose source the switch translates, for both families: the other zone sees the client's address."""

FRAGMENT_ZONE: Final = 65522
"""Where datagrams are put together before a slot is chosen; no connection is committed in it."""

SERVICE_MARK: Final = 0x10
"""ct_mark of connections that a Service's translation committed, in both zones."""

REFUSED_MARK: Final = 0x20
"""ct_mark, in SNAT_ZONE, of the Node's own packets that are refused."""

SOURCE_MARK_MASK: Final = 0xF
"""The bits of ct_mark that say where a connection was begun, as Source does."""


class Source(IntEnum):
    """Where a packet entered the switch (reg0[0..3]); never 0 behind the Classifier."""

    TUNNEL = 1
    GATEWAY = 2
    """From the Node itself, or what its stack passes on."""
    POD = 3
    OUTSIDE = 4
    """Through the gateway, from beyond the Node, for a Service's external address."""

    @property
    def load(self) -> SetField:
        """The action that notes it."""
        return SetField(SOURCE, self.value, SOURCE_MASK)
