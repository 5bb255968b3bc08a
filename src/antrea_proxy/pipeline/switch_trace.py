"""`ofproto/trace`: what to ask a switch for a packet, and its answer read, to be compared with a walk.

Its own tracker and hash are out of reach for a trace: it takes a connection for new, and the bucket of a dp_hash group
from the hash that it is given (ovs-vswitchd(8), ofproto/trace).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final, NamedTuple

from antrea_proxy.openflow.constants import Cookie, CtState
from antrea_proxy.openflow.groups import Bucket
from antrea_proxy.pipeline.affinity import balancer_of
from antrea_proxy.pipeline.flow_index import CompiledGroup
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.registers import SLOT
from antrea_proxy.pipeline.walk import table_title
from antrea_proxy.pipeline.walk_steps import Dropped, Step, Walk

_LOOKUP: Final = re.compile(r"\s*(\d+)\. (?:.*?,? ?priority (\d+)(?:, cookie (0x[0-9a-f]+))?|No match\.)$")
_BUCKET: Final = re.compile(r"\s*-> using bucket (\d+)")
_LOAD: Final = re.compile(rf"\s*(?:load|set_field):(0x[0-9a-f]+)->(?:NXM_NX_)?{SLOT.name}(?:\[\])?$", re.IGNORECASE)
_OUTPUT: Final = re.compile(r"\s*(?:output:(\d+)|-> output port is (\d+)|(IN_PORT))$")
_COMPLAINT: Final = re.compile(r"\s*>> *(.+)")
_BRIDGE: Final = re.compile(r'\s*bridge\("(.+)"\)$')
_IN_PORT: Final = re.compile(r"Flow: .*\bin_port=(\d+)")


class SwitchLookup(NamedTuple):
    """A table that looked the packet up; a miss has no priority. A flow without a cookie has 0."""

    table: int
    priority: int | None
    cookie: int


class Remembered(NamedTuple):
    """What a learned flow says of a client: the slot of its endpoint. The cookie names the load balancer."""

    cookie: Cookie
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTrace:
    """What a switch would do with a packet. `complaints` are its own remarks, such as on a port that does not exist.

    `remembered` is the client's endpoint by a flow that the switch learned; None if it met no such flow.
    """

    lookups: tuple[SwitchLookup, ...]
    buckets: tuple[int, ...]
    ports: tuple[int, ...]
    complaints: tuple[str, ...]
    remembered: Remembered | None
    text: str

    def choose(self, _group: CompiledGroup, buckets: Sequence[Bucket]) -> int:
        """Choose as the switch did."""
        places = {bucket.bucket_id: place for place, bucket in enumerate(buckets)}
        return next((places[number] for number in self.buckets if number in places), 0)


def trace_arguments(bridge: str, packet: Packet, *, states: Sequence[CtState] = ()) -> tuple[str, ...]:
    """The words after `ovs-appctl` that trace a packet.

    Each of `states` answers one ct(), from the first on; after these, every connection is new.
    """
    words = ["ofproto/trace", bridge, packet.ovs_text()]
    for state in states:
        names = ",".join((bit.name or "").lower() for bit in CtState if bit & (state | CtState.TRK))
        words += ["--ct-next", names]
    return tuple(words)


def parse_trace(text: str) -> SwitchTrace:
    """Read what `ofproto/trace` printed; lines of other forms mean nothing here.

    A tunnel's packet goes on through the bridge of the underlay: that is not part of the way that is compared.
    """
    lookups: list[SwitchLookup] = []
    buckets: list[int] = []
    ports: list[int] = []
    complaints: list[str] = []
    remembered: Remembered | None = None
    in_port, bridge, ours = 0, "", True
    for line in text.splitlines():
        if found := _BRIDGE.match(line):
            bridge = bridge or found[1]
            ours = found[1] == bridge
        elif not ours:
            continue
        elif found := _LOOKUP.match(line):
            table, priority, cookie = found.groups()
            lookups.append(
                SwitchLookup(int(table), None if priority is None else int(priority), int(cookie or "0", 16))
            )
        elif (found := _LOAD.match(line)) and lookups and balancer_of(lookups[-1].cookie) is not None:
            remembered = Remembered(Cookie(lookups[-1].cookie), int(found[1], 16))
        elif found := _BUCKET.match(line):
            buckets.append(int(found[1]))
        elif found := _OUTPUT.match(line):
            ports.append(in_port if found[3] else int(found[1] or found[2]))
        elif found := _COMPLAINT.match(line):
            complaints.append(found[1])
        elif (found := _IN_PORT.match(line)) and not in_port:
            in_port = int(found[1])
    return SwitchTrace(
        lookups=tuple(lookups),
        buckets=tuple(buckets),
        ports=tuple(ports),
        complaints=tuple(complaints),
        remembered=remembered,
        text=text,
    )


def differences(walked: Walk, traced: SwitchTrace) -> tuple[str, ...]:
    """Tell where a switch's way departs from the compiled tables' one; nothing if they agree."""
    for step, lookup in zip_longest(walked.steps, traced.lookups):
        if step is None or lookup is None or _key(step) != lookup:
            return (_parting(step, lookup),)
    if set(walked.ports) != set(traced.ports):
        return (f"the compiled tables send the packet to {_ports(walked.ports)}, the switch to {_ports(traced.ports)}",)
    return ()


def _key(step: Step) -> SwitchLookup:
    if step.cookie is None:
        return SwitchLookup(step.table, None, 0)
    return SwitchLookup(step.table, step.priority, step.cookie)


def _parting(step: Step | None, lookup: SwitchLookup | None) -> str:
    ours, theirs = "end", "ends"
    if step is not None:
        flow = "find no flow" if step.owner is None else f"take the flow of {step.owner}, priority {step.priority}"
        ours = f"{flow} in {step.title}"
        if step.events and isinstance(step.events[-1], Dropped) and step.owner is not None:
            ours += ", which drops the packet"
    if lookup is not None:
        flow = "finds no flow"
        if lookup.priority is not None:
            flow = f"takes one of priority {lookup.priority}, cookie {lookup.cookie:#018x}"
        theirs = f"{flow} in {table_title(lookup.table)}"
    return f"the compiled tables {ours}; the switch {theirs}"


def _ports(ports: Sequence[int]) -> str:
    return " and ".join(f"port {port}" for port in ports) or "no port"
