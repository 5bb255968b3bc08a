"""The health of Services and of the proxy over real sockets, as a load balancer in front of the cluster asks for it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any

import pytest

from antrea_proxy.agent.status import AgentStatus, HealthReport, Phase
from antrea_proxy.http_api.service_health import HealthServers, HealthSources
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.health_checks import HealthCheck
from antrea_proxy.settings import AntreaProxySettings, ListenAddress
from api_server import free_port

WEB = NamespacedName("default", "web")
OTHER = NamespacedName("default", "other")
NOW = 1_000_000.0
RUNNING = AgentStatus(node_name="node-1", version="0", started_at=NOW, phase=Phase.RUNNING)


class Soon:
    """Tries a port again at once."""

    def next_delay(self) -> float:
        return 0.02


@dataclass(slots=True)
class Health:
    """Running servers, and all that a test may change about what they tell."""

    port: int = field(default_factory=free_port)
    status: AgentStatus = RUNNING
    eligible: bool = True
    now: float = NOW
    reports: list[HealthReport] = field(default_factory=list)
    servers: HealthServers = field(init=False)
    loop: asyncio.AbstractEventLoop = field(init=False)

    def prepare(self, settings: AntreaProxySettings) -> None:
        """Make the servers."""
        sources = HealthSources(
            status=lambda: self.status,
            eligible=lambda: self.eligible,
            report=self.reports.append,
            delays=Soon,
            clock=lambda: self.now,
        )
        self.servers = HealthServers(sources, settings)

    def want(self, *checks: HealthCheck) -> None:
        """Ask for these."""
        self.loop.call_soon_threadsafe(self.servers.want, {check.service: check for check in checks})

    def reported(self) -> HealthReport:
        """What was reported last."""
        return self.reports[-1] if self.reports else HealthReport()


@pytest.fixture
def health(request: pytest.FixtureRequest) -> Iterator[Health]:
    """Servers that run in a thread; a test may give its settings as the fixture's parameter."""
    running = Health()
    own = ListenAddress(host="0.0.0.0", port=running.port)
    given = getattr(request, "param", {})
    running.prepare(AntreaProxySettings(proxy_all=True, service_health_check_server_bind_address=own, **given))
    started, ending = threading.Event(), asyncio.Event()

    async def serve() -> None:
        running.loop = asyncio.get_running_loop()
        task = asyncio.create_task(running.servers.run())
        started.set()
        await ending.wait()
        task.cancel()
        await asyncio.wait({task})

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(ending.set)
        thread.join(10)
        assert not thread.is_alive()


def ask(port: int, path: str = "/", *, host: str = "127.0.0.1") -> tuple[int, Any, dict[str, str]]:
    """GET; an answer that is no JSON is its text."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode()
            return error.code, json.loads(text) if text.startswith("{") else text, dict(error.headers)


def until_open(port: int, *, host: str = "127.0.0.1") -> None:
    """Wait until somebody answers; asyncio leaves a connection open that it accepts as it closes."""
    deadline = time.monotonic() + 5
    while True:
        try:
            ask(port, host=f"[{host}]" if ":" in host else host)
        except OSError:
            assert time.monotonic() < deadline, f"{host}:{port} does not open"
            time.sleep(0.01)
        else:
            return


def until_closed(port: int) -> None:
    """Wait until nobody listens.

    By binding: a connection that asyncio accepts while its server closes stays open, and would be an unclosed one.
    """
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, f"{port} does not close"
            time.sleep(0.01)
        else:
            return


def check(endpoints: int, *, port: int, service: NamespacedName = WEB) -> HealthCheck:
    return HealthCheck(service=service, port=port, local_endpoints=endpoints)


def test_a_node_with_endpoints_answers_how_many(health: Health) -> None:
    port = free_port()
    health.want(check(2, port=port))
    until_open(port)
    code, body, headers = ask(port, "/healthz")
    assert code == 200
    assert body == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "2"
    assert headers["Content-Type"] == "application/json"


def test_it_answers_over_ipv6_too(health: Health) -> None:
    port = free_port()
    health.want(check(1, port=port))
    until_open(port, host="::1")
    assert ask(port, host="[::1]")[0] == 200


def test_a_node_without_endpoints_answers_503_and_changes_its_mind_at_once(health: Health) -> None:
    port = free_port()
    health.want(check(0, port=port))
    until_open(port)
    code, body, headers = ask(port)
    assert code == 503
    assert body["localEndpoints"] == 0
    assert headers["X-Load-Balancing-Endpoint-Weight"] == "0"
    health.want(check(1, port=port))
    assert ask(port)[0] == 200


def test_a_proxy_that_does_not_keep_up_is_unhealthy_for_every_service(health: Health) -> None:
    port = free_port()
    health.want(check(2, port=port))
    until_open(port)
    health.status = replace(RUNNING, phase=Phase.RETRYING, pending_since=NOW)
    health.now = NOW + 60
    assert ask(port)[0] == 200
    health.now = NOW + 61
    code, body, _ = ask(port)
    assert (code, body["serviceProxyHealthy"], body["localEndpoints"]) == (503, False, 2)
    assert ask(health.port, "/healthz")[0] == 503
    assert ask(health.port, "/livez")[0] == 503


def test_a_node_that_is_to_go_gets_no_new_connections_but_the_proxy_lives_on(health: Health) -> None:
    port = free_port()
    health.want(check(2, port=port))
    until_open(port)
    until_open(health.port)
    code, body, _ = ask(health.port, "/healthz")
    assert (code, body["nodeEligible"]) == (200, True)
    health.eligible = False
    code, body, _ = ask(health.port, "/healthz")
    assert (code, body["nodeEligible"]) == (503, False)
    assert ask(health.port, "/livez")[0] == 200
    assert ask(port)[0] == 200, "a Service's own check does not ask whether the Node is to go (KEP 3836)"
    assert ask(health.port, "/other")[0] == 404


def test_an_agent_that_does_not_come_up_is_unhealthy_after_a_minute(health: Health) -> None:
    health.status = replace(RUNNING, phase=Phase.STARTING)
    until_open(health.port)
    assert ask(health.port, "/livez")[0] == 200
    health.now = NOW + 61
    assert ask(health.port, "/livez")[0] == 503


def test_the_port_of_a_service_that_goes_is_closed(health: Health) -> None:
    first, second = free_port(), free_port()
    health.want(check(1, port=first), check(1, port=second, service=OTHER))
    until_open(first)
    until_open(second)
    assert ask(first)[1]["service"]["name"] == "web"
    health.want(check(1, port=second, service=OTHER))
    until_closed(first)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", first), timeout=1)
    assert ask(second)[1]["service"]["name"] == "other"


def test_a_taken_port_is_the_problem_of_its_service_and_is_opened_when_it_is_free(health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = free_port()
        health.want(check(1, port=port), check(1, port=free, service=OTHER))
        until_open(free)
        deadline = time.monotonic() + 5
        while WEB not in health.reported().of_services:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        problem = health.reported().of_services[WEB]
        assert problem.startswith(f"Service default/web: spec.healthCheckNodePort: {port}: Address already in use")
        assert f"ss -ltnp 'sport = :{port}'" in problem
        assert OTHER not in health.reported().of_services
    until_open(port)
    assert ask(port)[0] == 200
    deadline = time.monotonic() + 5
    while health.reported() != HealthReport():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_services_with_one_port_are_told_and_the_first_has_it(health: Health) -> None:
    port = free_port()
    health.want(check(1, port=port), check(1, port=port, service=OTHER))
    until_open(port)
    assert ask(port)[1]["service"]["name"] == "other"
    deadline = time.monotonic() + 5
    while WEB not in health.reported().of_services:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "Service default/other has it already" in health.reported().of_services[WEB]


@pytest.mark.parametrize("health", [{"node_port_addresses": (ip_network("127.0.0.1/32"),)}], indirect=True)
def test_only_node_port_addresses_answer(health: Health) -> None:
    port = free_port()
    health.want(check(1, port=port))
    until_open(port)
    assert ask(port)[0] == 200
    assert ask(port, host="127.0.0.2")[0] == 404
