"""The tables of the pipeline, in the order in which a packet meets them.

A packet that belongs to no Service passes Classifier, Conntrack, ConntrackState, ServiceLB, the policy stages and
L3Forwarding, with one recirculation, and a second one for the first packet of its connection (Commit). A new connection
to a Service is hashed (none for a single endpoint), translated and tracked by one ct() in its group's bucket, and goes
on at EgressPolicy.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from antrea_proxy.openflow.constants import TableId


class Table(IntEnum):
    """Table numbers. Gaps leave room for the stages that later features need."""

    CLASSIFIER = 0
    """Where a packet came from; drops what bears an address that is not its Pod's."""
    NEIGHBOURS = 5
    """ARP and IPv6 neighbour discovery, forwarded by address, never flooded."""
    DIRECT_RETURN = 6
    """Connections from outside for a Service in DSR mode: to their slot, untracked."""
    DIRECT_SLOT = 7
    """From a slot to the Node that has it."""
    DIRECT_NODE = 8
    """Through the tunnel to a Node, or on, if it is this one."""
    CONNTRACK = 10
    """Turns the reply of a hairpin back, then looks the connection up."""
    CONNTRACK_STATE = 20
    """Established connections leave for EgressPolicy; TCP that the tracker knows no connection for is dropped."""
    DIRECT_HANDOVER = 22
    """Of a Service in DSR mode: a segment of a connection that this Node does not know."""
    DIRECT_FORMER = 24
    """From a slot to the Nodes that have it or had it before, but for those that were asked already."""
    SERVICE_LB = 30
    """New connections to a Service's address: to a group, to its single endpoint, or refused."""
    AFFINITY = 35
    """Learned: which endpoint a client of a Service with session affinity had last."""
    SERVICE_SLOT = 40
    """From a new connection's slot, or its client's endpoint, to the translation; clients without one to a group."""
    AFFINITY_LEARN = 45
    """Remembers the endpoint that a client's group chose."""
    TRANSLATED = 48
    """Behind a Service's translation: what the tracker could not translate goes back to ServiceLB, a few times."""
    EGRESS_POLICY = 50
    """Reserved for a policy engine: it sees Pods' addresses, after the Service's address was translated."""
    L3_FORWARDING = 60
    """By destination: the MAC address and the port, in a register."""
    INGRESS_POLICY = 70
    """Reserved for a policy engine, before output."""
    COMMIT = 80
    """New connections that no Service translated are tracked, so that their replies are known."""
    OUTPUT = 90
    """To the port; a packet that goes back where it came from gets the hairpin address as its source."""

    @property
    def id(self) -> TableId:
        """The number as OpenFlow's type."""
        return TableId(self.value)

    @property
    def title(self) -> str:
        """The name as people write it, such as ServiceLB."""
        return _TITLES[self]


_TITLES: Final = {
    Table.CLASSIFIER: "Classifier",
    Table.NEIGHBOURS: "Neighbours",
    Table.DIRECT_RETURN: "DirectReturn",
    Table.DIRECT_SLOT: "DirectSlot",
    Table.DIRECT_NODE: "DirectNode",
    Table.CONNTRACK: "Conntrack",
    Table.CONNTRACK_STATE: "ConntrackState",
    Table.DIRECT_HANDOVER: "DirectHandover",
    Table.DIRECT_FORMER: "DirectFormer",
    Table.SERVICE_LB: "ServiceLB",
    Table.AFFINITY: "Affinity",
    Table.SERVICE_SLOT: "ServiceSlot",
    Table.AFFINITY_LEARN: "AffinityLearn",
    Table.TRANSLATED: "Translated",
    Table.EGRESS_POLICY: "EgressPolicy",
    Table.L3_FORWARDING: "L3Forwarding",
    Table.INGRESS_POLICY: "IngressPolicy",
    Table.COMMIT: "Commit",
    Table.OUTPUT: "Output",
}
