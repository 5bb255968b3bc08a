"""POST /v1/trace: from names to a packet's way, compared with the switch where it can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from antrea_proxy.http_api.tracing import RequestError, SwitchTraceError, UnknownError, answer
from antrea_proxy.http_api.view_types import TraceRequest, TraceView
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.walk import walk
from worlds import WORLD

TABLES = CompiledTables(WORLD.units)


def traced(
    address: str,
    port: str,
    *,
    protocol: str = "",
    pod: str = "client",
    in_switch: Callable[[Packet], Awaitable[str]] | None = None,
) -> TraceView:
    request = TraceRequest(namespace="default", pod=pod, address=address, port=port, protocol=protocol)
    return asyncio.run(answer(WORLD.status(), request, in_switch))


async def honest(packet: Packet) -> str:
    """Print what a switch prints that does as the compiled tables say, in so far as it is read."""
    way = walk(TABLES, packet)
    lines = [
        f"{step.table:2}. {step.match}, priority {step.priority}, cookie {step.cookie or 0:#x}" for step in way.steps
    ]
    return "\n".join([*lines, *(f"    output:{port}" for port in way.ports)])


async def broken(_packet: Packet) -> str:
    raise SwitchTraceError("ovs-vswitchd does not answer")


async def empty(_packet: Packet) -> str:
    return " 0. priority 0\n    drop\n"


def test_a_service_may_be_named_with_its_ports_name_or_number() -> None:
    by_name, by_number, by_address = traced("web", "http"), traced("web", "80"), traced("10.96.0.10", "80")
    assert by_name.service == "default/web:http"
    assert by_name.stages == by_number.stages == by_address.stages


def test_the_protocol_is_the_service_ports_own() -> None:
    assert "opens UDP to 10.96.0.10:53" in traced("web", "dns").stages[0].text
    assert "opens UDP to 10.96.0.10:53" in traced("10.96.0.10", "53").stages[0].text
    assert "opens TCP to 8.8.8.8:53" in traced("8.8.8.8", "53").stages[0].text
    assert "opens TCP to 10.96.0.10:53" in traced("10.96.0.10", "53", protocol="tcp").stages[0].text


@pytest.mark.parametrize(
    ("address", "port", "protocol", "kind", "words"),
    [
        ("nix", "80", "", UnknownError, "Service default/nix is not balanced here"),
        ("headless", "80", "", UnknownError, "left alone: it is headless"),
        ("broken", "80", "", UnknownError, "70000"),
        ("web", "https", "", UnknownError, "it has http .80/TCP, IPv4., dns"),
        ("web", "80", "ICMP", RequestError, "must be TCP, UDP or SCTP"),
        ("10.96.0.10", "http", "", RequestError, "must be 1 to 65535; names are for Services"),
        ("10.96.0.10", "0", "", RequestError, "must be 1 to 65535"),
        ("10.96.0.10", "70000", "", RequestError, "must be 1 to 65535"),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_said(
    address: str, port: str, protocol: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        traced(address, port, protocol=protocol)


def test_a_pod_of_another_node_is_not_known_and_those_of_this_one_are_named() -> None:
    with pytest.raises(UnknownError, match="Pods here: default/client, default/web-0"):
        traced("web", "80", pod="nobody")


def test_an_agent_without_a_network_says_what_it_waits_for() -> None:
    status = WORLD.status(network=None, network_problems=("Node node-1: podCIDR: none",))
    request = TraceRequest(namespace="default", pod="client", address="web", port="80")
    with pytest.raises(UnknownError, match="no Pod network yet: Node node-1: podCIDR: none"):
        asyncio.run(answer(status, request, None))


def test_a_switch_that_does_the_same_agrees() -> None:
    found = traced("single", "80", in_switch=honest)
    assert found.switch == "agrees"
    assert found.warnings == ()


def test_a_switch_that_does_otherwise_differs_with_a_warning() -> None:
    found = traced("single", "80", in_switch=empty)
    assert found.switch == "differs"
    assert found.warnings[0].startswith("the compiled tables take the flow of pod default/client")


def test_a_switch_that_cannot_be_asked_leaves_the_compiled_tables_way() -> None:
    found = traced("single", "80", in_switch=broken)
    assert found.switch == "ovs-vswitchd does not answer"
    assert found.verdict == "tunnel"


def test_every_step_is_there_with_what_it_did() -> None:
    found = traced("single", "80")
    assert [step.table_name for step in found.steps][:4] == ["Classifier", "Conntrack", "ConntrackState", "ServiceLB"]
    assert "10.10.1.5:40000 -> 10.96.0.11:80 becomes 10.10.1.5:40000 -> 10.10.2.7:8080" in found.steps[3].events[0]
    assert found.reply[-1].events == ("out of port 21",)
