"""Answers trace requests: from names to a question, through the compiled tables, beside the switch's own trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, TypeAlias

from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.http_api.view_types import ChoiceView, StageView, StepView, TraceRequest, TraceView
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.values import Network
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.switch_trace import SwitchTrace, parse_trace
from antrea_proxy.pipeline.trace import Question, Trace, trace
from antrea_proxy.pipeline.walk_steps import Step, Walk
from antrea_proxy.proxy.frontends import Frontend, Protocol
from antrea_proxy.proxy.service_ports import ServicePort

TraceInSwitch: TypeAlias = Callable[[Packet], Awaitable[str]]
"""Runs `ofproto/trace` for a packet and returns what it prints; raises SwitchTraceError if that cannot be had."""

MAX_PORT: Final = 65535


class SwitchTraceError(Exception):
    """The switch could not be asked; says why."""


class UnknownError(Exception):
    """What a request names does not exist here; says what does, or what to do."""


class RequestError(Exception):
    """A request that makes no sense; names the field, the value and what to write."""


async def answer(status: AgentStatus, request: TraceRequest, trace_in_switch: TraceInSwitch | None) -> TraceView:
    """Trace a connection.

    Raises UnknownError for a Pod or Service that this Node's agent does not know, RequestError for a port, protocol or
    family that cannot be.
    """
    network = status.network
    if network is None:
        problems = "; ".join(status.network_problems) or status.problem or "it is starting"
        raise UnknownError(f"the agent of {status.node_name} has no Pod network yet: {problems}")
    pod = _pod(network, request)
    question = _question(status, pod, request)
    try:
        packet = question.packet(network)
    except ValueError as error:
        raise RequestError(str(error)) from error
    tables, load_balancers = CompiledTables(status.installed), dict(status.load_balancers)
    switch: SwitchTrace | None = None
    reason = "not asked"
    if trace_in_switch is not None:
        try:
            switch = parse_trace(await trace_in_switch(packet))
        except SwitchTraceError as error:
            reason = str(error)
    return _view(await asyncio.to_thread(trace, tables, network, load_balancers, question, switch), reason)


def _pod(network: Network, request: TraceRequest) -> PodInterface:
    found = [pod for pod in network.pods if (pod.namespace, pod.name) == (request.namespace, request.pod)]
    if found:
        return found[-1]
    here = ", ".join(f"{pod.namespace}/{pod.name}" for pod in network.pods[:5]) or "none"
    more = f" and {len(network.pods) - 5} more" if len(network.pods) > 5 else ""  # noqa: PLR2004 - as many as were named
    raise UnknownError(
        f"Pod {request.namespace}/{request.pod} is not wired to {network.node_name}'s switch; Pods here: {here}{more}. "
        "Ask the agent of the Pod's own Node"
    )


def _question(status: AgentStatus, pod: PodInterface, request: TraceRequest) -> Question:
    protocol = _protocol(request.protocol)
    if request.choice < 1:
        raise RequestError(f"choice: {request.choice}: must be 1 or more")
    try:
        address = ip_address(request.address)
    except ValueError:
        port, frontend = _service_port(status, pod, request, protocol)
        assert frontend.address is not None  # noqa: S101 - `_service_port` takes no NodePort
        return Question(
            pod=pod, address=frontend.address, port=frontend.port, protocol=port.protocol, dp_hash=request.choice
        )
    number = _port_number(request.port)
    if protocol is None:
        served = {
            item.port.protocol
            for item in status.load_balancers.values()
            if any((frontend.address, frontend.port) == (address, number) for frontend in item.port.frontends)
        }
        protocol = min(served, default=Protocol.TCP)
    return Question(pod=pod, address=address, port=number, protocol=protocol, dp_hash=request.choice)


def _protocol(text: str) -> Protocol | None:
    if not text:
        return None
    if text.upper() not in Protocol.__members__:
        raise RequestError(f"protocol: {text!r}: must be TCP, UDP or SCTP")
    return Protocol[text.upper()]


def _port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MAX_PORT:
        raise RequestError(f"port: {text!r}: must be 1 to {MAX_PORT}; names are for Services")
    return int(text)


def _service_port(
    status: AgentStatus, pod: PodInterface, request: TraceRequest, protocol: Protocol | None
) -> tuple[ServicePort, Frontend]:
    """The Service port that is meant, and its first address."""
    name = NamespacedName(request.service_namespace or request.namespace, request.address)
    if name in status.left_alone:
        raise UnknownError(f"Service {name} is left alone: {status.left_alone[name]}; give an address instead")
    found = (item.port for key, item in status.load_balancers.items() if key.port.service == name)
    ports = list({id(port): port for port in found}.values())
    if not ports:
        problems = "; ".join(map(str, status.service_problems.get(name, ())))
        raise UnknownError(f"Service {name} is not balanced here{f': {problems}' if problems else ''}")
    families = {address.version for address in pod.addresses} & ({request.family} if request.family else {4, 6})
    fitting = [
        port
        for port in ports
        if request.port in {port.name.port, str(port.port)}
        and protocol in {None, port.protocol}
        and port.family in families
    ]
    if not fitting:
        known = ", ".join(
            f"{port.name.port or port.port} ({port.port}/{port.protocol.name}, IPv{port.family})" for port in ports
        )
        raise UnknownError(
            f"Service {name} has no port {request.port!r} that Pod {pod.namespace}/{pod.name} can reach so; "
            f"it has {known}"
        )
    chosen = min(fitting, key=lambda port: (port.family, port.protocol))
    return chosen, next(item for item in chosen.frontends if item.address is not None)


def _view(found: Trace, reason: str) -> TraceView:
    switch = reason
    if found.switch is not None:
        switch = "differs" if found.differences else "agrees"
    return TraceView(
        verdict=found.verdict.value,
        service=found.service,
        stages=tuple(StageView(title=stage.title, text=stage.text) for stage in found.stages),
        choices=tuple(
            ChoiceView(
                address=choice.address,
                port=choice.port,
                share=choice.share,
                node=choice.node,
                target=choice.target,
                followed=choice.followed,
            )
            for choice in found.choices
        ),
        steps=_steps(found.walk),
        reply=() if found.reply is None else _steps(found.reply),
        recirculations=found.walk.recirculations,
        switch=switch,
        switch_trace="" if found.switch is None else found.switch.text,
        warnings=found.warnings,
    )


def _steps(walked: Walk) -> tuple[StepView, ...]:
    return tuple(map(_step, walked.steps))


def _step(step: Step) -> StepView:
    return StepView(
        table=step.table,
        table_name=step.title,
        priority=step.priority,
        match=step.match,
        owner="" if step.owner is None else str(step.owner),
        cookie="" if step.cookie is None else f"{step.cookie:#018x}",
        events=tuple(map(str, step.events)),
    )
