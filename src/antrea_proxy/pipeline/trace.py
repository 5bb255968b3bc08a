"""The way of a connection's first packet in words, stage by stage, from the compiled tables.

It is compared with a switch's own trace where the caller has one. Pure: the caller asks the switch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.values import Network
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Conntrack, Nat, SetField
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT, mac_number
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_SYN, IPAddress, Packet
from antrea_proxy.pipeline.registers import BALANCER, SLOT
from antrea_proxy.pipeline.service_templates import LEARNED_PRIORITY
from antrea_proxy.pipeline.switch_trace import Remembered, SwitchTrace, differences
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, OwnerKind, Unit
from antrea_proxy.pipeline.walk import Choose, first_bucket, walk
from antrea_proxy.pipeline.walk_steps import Chose, Walk, WasTracked
from antrea_proxy.proxy.frontends import Frontend, Protocol
from antrea_proxy.proxy.load_balancers import EndpointReport, LoadBalancer, LoadBalancerName, Outcome

CLIENT_PORT: Final = 40000
"""The source port of a traced connection, in the range from which Linux takes them."""


class Verdict(Enum):
    """What becomes of a connection's first packet."""

    LOCAL = "local"
    """It reaches a Pod of this Node."""
    TUNNEL = "tunnel"
    """It goes to a peer, encapsulated."""
    GATEWAY = "gateway"
    """It enters the Node's own network stack."""
    REFUSED = "refused"
    DROPPED = "dropped"


_VERDICTS: Final[Mapping[int, Verdict]] = {
    GATEWAY_PORT: Verdict.GATEWAY,
    TUNNEL_PORT: Verdict.TUNNEL,
    REFUSE_PORT: Verdict.REFUSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A connection that a Pod would begin. `dp_hash`, from 1 up, stands for the datapath's hash of it."""

    pod: PodInterface
    address: IPAddress
    port: int
    protocol: Protocol = Protocol.TCP
    source_port: int = CLIENT_PORT
    dp_hash: int = 1

    def packet(self, network: Network) -> Packet:
        """Make its first packet.

        Raises ValueError if the Pod has no address of the family.
        """
        source = self.pod.ipv4 if isinstance(self.address, IPv4Address) else self.pod.ipv6
        if source is None:
            raise ValueError(
                f"Pod {self.pod.namespace}/{self.pod.name} has no IPv{self.address.version} address, "
                f"so that it cannot connect to {self.address}"
            )
        return Packet(
            in_port=self.pod.ofport,
            eth_src=mac_number(self.pod.mac),
            eth_dst=mac_number(network.gateway.mac),
            eth_type=fields.ETH_TYPE_IPV4 if self.address.version == 4 else fields.ETH_TYPE_IPV6,  # noqa: PLR2004 - IPv4
            source=source,
            destination=self.address,
            protocol=self.protocol,
            source_port=self.source_port,
            destination_port=self.port,
            tcp_flags=TCP_SYN if self.protocol is Protocol.TCP else 0,
            dp_hash=self.dp_hash,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An endpoint that a new connection may go to; `share` is its part of them, 0 to 1. One is `followed`."""

    address: str
    port: int
    share: float
    node: str
    target: str
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the way, in words."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The way of a connection's first packet, and of the first reply where that comes from this Node's own ports.

    `differences` tell where the switch departs from the compiled tables; `remarks`, what it complains of and what could
    not be followed.
    """

    verdict: Verdict
    service: str
    stages: tuple[Stage, ...]
    choices: tuple[Choice, ...]
    walk: Walk
    reply: Walk | None
    differences: tuple[str, ...]
    remarks: tuple[str, ...]
    switch: SwitchTrace | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return all that a reader should doubt."""
        return self.differences + self.remarks


def trace(
    tables: CompiledTables,
    network: Network,
    load_balancers: Mapping[LoadBalancerName, LoadBalancer],
    question: Question,
    switch: SwitchTrace | None = None,
) -> Trace:
    """Follow a connection's first packet, through the endpoint that the switch chose if it was asked.

    Raises ValueError if the Pod has no address of the family.
    """
    choose: Choose = first_bucket if switch is None else switch.choose
    if switch is not None and switch.remembered is not None:
        tables = tables.plus(Owner(OwnerKind.AFFINITY, ""), _learned(question, switch.remembered))
    way = walk(tables, question.packet(network), choose=choose)
    found = frontend_of(load_balancers, question)
    balancer, frontend = (None, None) if found is None else found
    translation = _translation(way)
    verdict = _verdict(way)
    reply = _reply(tables, way, verdict)
    choices = _choices(tables, way, balancer, translation)
    complaints = () if switch is None else switch.complaints
    owner = next((step.owner for step in way.steps if step.owner and step.owner.kind is OwnerKind.SERVICE), None)
    stages = (
        _pod_stage(question),
        _service_stage(question, balancer, frontend, None if owner is None else owner.name),
        *_affinity_stages(way, balancer),
        *_endpoint_stages(choices, balancer, verdict),
        *_translation_stages(way, translation),
        _output_stage(way, network, verdict),
        *_reply_stages(reply, question),
    )
    return Trace(
        verdict=verdict,
        service="" if balancer is None else str(balancer.name.port),
        stages=stages,
        choices=choices,
        walk=way,
        reply=reply,
        differences=() if switch is None else differences(way, switch),
        remarks=(*way.uncertain, *(f"the switch says: {complaint}" for complaint in complaints)),
        switch=switch,
    )


def frontend_of(
    load_balancers: Mapping[LoadBalancerName, LoadBalancer], question: Question
) -> tuple[LoadBalancer, Frontend] | None:
    """Find what a Pod gets at an address: the load balancer, and the address of its Service port."""
    wanted = (question.address, question.port)
    for balancer in load_balancers.values():
        if balancer.port.protocol is question.protocol:
            for frontend in balancer.port.frontends:
                if (frontend.address, frontend.port) == wanted and frontend.inside is balancer.scope:
                    return balancer, frontend
    return None


def _translation(way: Walk) -> WasTracked | None:
    return next((event for event in way.events if isinstance(event, WasTracked) and event.translated), None)


def _verdict(way: Walk) -> Verdict:
    ports = way.ports
    if not ports:
        return Verdict.DROPPED
    return _VERDICTS.get(ports[0], Verdict.LOCAL)


def _reply(tables: CompiledTables, way: Walk, verdict: Verdict) -> Walk | None:
    """The answer to the packet that left: it enters where that went, but for what the host's stack makes of it."""
    if verdict not in {Verdict.LOCAL, Verdict.TUNNEL}:
        return None
    sent = way.sent[0]
    first = sent.packet
    return walk(
        tables,
        Packet(
            in_port=sent.port,
            eth_src=first.eth_dst,
            eth_dst=first.eth_src,
            eth_type=first.eth_type,
            source=first.destination,
            destination=first.source,
            protocol=first.protocol,
            source_port=first.destination_port,
            destination_port=first.source_port,
            tcp_flags=TCP_SYN | TCP_ACK if first.protocol == fields.IP_PROTO_TCP else 0,
            tunnel_source=first.tunnel_destination,
        ),
        connections=way.connections,
    )


def _choices(
    tables: CompiledTables, way: Walk, balancer: LoadBalancer | None, translation: WasTracked | None
) -> tuple[Choice, ...]:
    if translation is None or translation.after is None:
        return ()
    followed = (translation.after.destination, translation.after.destination_port)
    reports: dict[tuple[int, int], EndpointReport] = {}
    if balancer is not None:
        reports = {_key(item): item for item in balancer.endpoints if item.verdict.used}
    shares = _group_shares(tables, way) or dict.fromkeys(reports or [followed], 1 / max(len(reports), 1))
    family = translation.after.family
    return tuple(
        _choice(family, endpoint, share, reports.get(endpoint), followed=endpoint == followed)
        for endpoint, share in shares.items()
    )


def _group_shares(tables: CompiledTables, way: Walk) -> dict[tuple[int, int], float]:
    """The endpoints of the group on the way, by their buckets' weights; nothing if its buckets do not translate."""
    group = next((tables.groups[event.group_id] for event in way.events if isinstance(event, Chose)), None)
    shares: dict[tuple[int, int], float] = {}
    buckets = [] if group is None else [bucket for bucket in group.buckets if bucket.weight != 0]
    total = sum(bucket.weight or 1 for bucket in buckets)
    for bucket in buckets:
        for action in bucket.actions:
            for part in action.actions if isinstance(action, Conntrack) else ():
                if isinstance(part, Nat) and part.address_min is not None and part.port_min is not None:
                    endpoint = (int(part.address_min), part.port_min)
                    shares[endpoint] = shares.get(endpoint, 0.0) + (bucket.weight or 1) / total
    return shares


def _choice(
    family: int, endpoint: tuple[int, int], share: float, report: EndpointReport | None, *, followed: bool
) -> Choice:
    address = IPv4Address(endpoint[0]) if family == 4 else IPv6Address(endpoint[0])  # noqa: PLR2004 - IPv4
    return Choice(
        address=str(address),
        port=endpoint[1],
        share=share,
        node="" if report is None else report.node,
        target="" if report is None else report.target,
        followed=followed,
    )


def _key(report: EndpointReport) -> tuple[int, int]:
    return int(ip_address(report.address)), report.port


def end_text(address: object, port: int) -> str:
    """An address and port as people write them."""
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _pod_stage(question: Question) -> Stage:
    pod = question.pod
    source = pod.ipv4 if question.address.version == 4 else pod.ipv6  # noqa: PLR2004 - IPv4
    destination = end_text(question.address, question.port)
    text = f"{pod.namespace}/{pod.name} ({source}, port {pod.ofport}) opens {question.protocol.name} to {destination}"
    return Stage(title="Pod", text=text)


def _service_stage(
    question: Question, balancer: LoadBalancer | None, frontend: Frontend | None, owner: str | None
) -> Stage:
    if balancer is not None and frontend is not None:
        text = f"{balancer.name.port}, its {frontend.kind.words} and port (IPv{balancer.port.family})"
        return Stage(title="Service", text=text)
    if owner is not None:
        served = f"{question.protocol.name} port {question.port}"
        return Stage(title="Service", text=f"{owner} has the address {question.address}, but does not serve {served}")
    return Stage(title="Service", text="none has this address and port: the packet keeps its destination")


def _affinity_stages(way: Walk, balancer: LoadBalancer | None) -> Sequence[Stage]:
    if balancer is None or not balancer.port.affinity:
        return []
    met = {step.table for step in way.steps}
    if Table.AFFINITY not in met:
        return []
    kept = f"for {balancer.port.affinity} s after its last new connection"
    if Table.AFFINITY_LEARN in met:
        return [Stage(title="Affinity", text=f"the client is new: it is chosen for by its address, and kept {kept}")]
    return [Stage(title="Affinity", text=f"the client keeps the endpoint that it had {kept}")]


def _learned(question: Question, remembered: Remembered) -> Unit:
    """The flow by which a switch remembers the client, as `learn_template` makes it learn one."""
    six = isinstance(question.address, IPv6Address)
    source = question.pod.ipv6 if six else question.pod.ipv4
    message = FlowMod(
        table=Table.AFFINITY.id,
        priority=LEARNED_PRIORITY,
        cookie=remembered.cookie,
        match=Match(
            (BALANCER, remembered.cookie & 0xFFFF_FFFF),
            (fields.ETH_TYPE, fields.ETH_TYPE_IPV6 if six else fields.ETH_TYPE_IPV4),
            (fields.IPV6_SRC if six else fields.IPV4_SRC, int(source or 0)),
        ),
        actions=(SetField(SLOT, remembered.slot),),
    )
    data = encode(message)
    return Unit(flows=(FlowEntry(remembered.cookie, data),))


def _endpoint_stages(choices: Sequence[Choice], balancer: LoadBalancer | None, verdict: Verdict) -> Sequence[Stage]:
    chosen = next((choice for choice in choices if choice.followed), None)
    if chosen is None:
        return [] if balancer is None else [Stage(title="Endpoint", text=_no_endpoint(balancer, verdict))]
    text = end_text(chosen.address, chosen.port)
    if chosen.target:
        text += f", Pod {chosen.target}"
    if chosen.node:
        text += f" on {chosen.node}"
    if len(choices) == 1:
        return [Stage(title="Endpoint", text=f"{text}: the only one")]
    share = f"one of {len(choices)}; this one gets {chosen.share:.1%} of new connections"
    return [Stage(title="Choice", text=share), Stage(title="Endpoint", text=text)]


def _no_endpoint(balancer: LoadBalancer, verdict: Verdict) -> str:
    if balancer.outcome is Outcome.BALANCED:
        return f"none was chosen, though {balancer.used_count} are in use; it is {verdict.value}"
    endpoints = balancer.endpoints
    if not endpoints:
        return "none: the Service has no endpoint"
    reasons = "; ".join(f"{end_text(item.address, item.port)}: {item.verdict.explanation}" for item in endpoints[:5])
    more = f"; and {len(endpoints) - 5} more" if len(endpoints) > 5 else ""  # noqa: PLR2004 - as many as were named
    return f"none is in use: {reasons}{more}"


def _translation_stages(way: Walk, translation: WasTracked | None) -> Sequence[Stage]:
    if translation is None or translation.before is None or translation.after is None:
        return []
    text = f"{translation.before} becomes {translation.after}, and replies are turned back"
    sent = way.sent[0].packet if way.sent else None
    if sent is not None and sent.source is not None and int(sent.source) != translation.after.source:
        text += f"; the source becomes {sent.source}, since the Pod reaches itself"
    return [Stage(title="NAT", text=text)]


def _output_stage(way: Walk, network: Network, verdict: Verdict) -> Stage:
    match verdict:
        case Verdict.DROPPED:
            drop = way.drop
            text = "dropped" if drop is None else str(drop[1])
        case Verdict.REFUSED:
            text = "refused at once, in the Node's stack (TCP reset, or ICMP port unreachable)"
        case Verdict.GATEWAY:
            text = f"the gateway {network.gateway.name}, into the Node's network stack"
            if network.masquerade:
                text += ", which masquerades what leaves the cluster"
        case Verdict.TUNNEL:
            text = _tunnel_text(way, network)
        case Verdict.LOCAL:
            port = way.ports[0]
            pod = next((item for item in network.pods if item.ofport == port), None)
            name = f"Pod {pod.namespace}/{pod.name}" if pod is not None else "no Pod that is known"
            text = f"port {port}, {name} on this Node"
    return Stage(title="Output", text=text)


def _tunnel_text(way: Walk, network: Network) -> str:
    target = way.sent[0].packet.tunnel_destination
    peer = next((item for item in network.peers if item.tunnel_address == target), None)
    kind = "" if network.tunnel is None else f"{network.tunnel.type.value} "
    return f"{kind}tunnel to {'an unknown Node' if peer is None else peer.name} ({target})"


def _reply_stages(reply: Walk | None, question: Question) -> Sequence[Stage]:
    if reply is None:
        return []
    if not reply.sent:
        drop = reply.drop
        return [Stage(title="Reply", text="dropped" if drop is None else str(drop[1]))]
    sent = reply.sent[0]
    back = sent.port == question.pod.ofport
    source = end_text(sent.packet.source, sent.packet.source_port)
    text = f"from {source} to {'the Pod' if back else f'port {sent.port}, which is not the Pod'}"
    if any(step.table == Table.SERVICE_LB for step in reply.steps):
        text += ", taken for a new connection"
    return [Stage(title="Reply", text=text)]
