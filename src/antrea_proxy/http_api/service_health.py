"""The servers that load balancers in front of the cluster ask: healthCheckNodePorts, and the proxy's own health.

One HTTP server for all ports: the port that a client came to says which Service it asks about. Ports are opened and
closed as Services come and go; one that cannot be opened is named as its Service's problem and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Protocol

import msgspec
import structlog
from aiohttp import web

from antrea_proxy.agent.status import AgentStatus, HealthReport, Phase
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.health_checks import HealthCheck, is_healthy
from antrea_proxy.settings import AntreaProxySettings, ListenAddress

_log = structlog.get_logger(__name__)

WEIGHT_HEADER: Final = "X-Load-Balancing-Endpoint-Weight"
"""How many ready endpoints the Node has: load balancers may share connections by it."""

_EVERYWHERE: Final = "::"
_BACKLOG: Final = 128
_SHUTDOWN_SECONDS: Final = 0.5
_JSON_HEADERS: Final = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}


class Delays(Protocol):
    """How long to wait between attempts to open a port, in seconds."""

    def next_delay(self) -> float:
        """Return the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSources:
    """What the answers are made of. `eligible` says whether new connections may be sent to the Node.

    `report` is given what is wrong with the ports whenever that changes; `delays` makes those of one port; `clock`
    gives Unix times in seconds.
    """

    status: Callable[[], AgentStatus]
    eligible: Callable[[], bool]
    report: Callable[[HealthReport], None]
    delays: Callable[[], Delays]
    clock: Callable[[], float] = time.time


@dataclass(slots=True)
class _Failure:
    """A port that could not be opened; `retry_at` is a time of the event loop's clock."""

    problem: str
    delays: Delays
    retry_at: float


class HealthServers:
    """All ports of this kind on the Node, as antrea-agent.conf wants them."""

    def __init__(self, sources: HealthSources, settings: AntreaProxySettings) -> None:
        self._sources = sources
        self._addresses = settings.node_port_addresses
        self._own = settings.service_health_check_server_bind_address
        self._checks: dict[int, HealthCheck] = {}
        self._taken: dict[NamespacedName, str] = {}
        self._open: dict[int, asyncio.Server] = {}
        self._failures: dict[int, _Failure] = {}
        self._report = HealthReport()
        self._woken = asyncio.Event()

    def want(self, checks: Mapping[NamespacedName, HealthCheck]) -> None:
        """Answer for these Services, and no other, from now on."""
        self._checks, self._taken = {}, {}
        for name in sorted(checks):
            check = checks[name]
            holder = self._checks.get(check.port)
            if check.port == self._own.port:
                self._taken[name] = _problem(
                    check, f"it is the port of {self._own}, serviceHealthCheckServerBindAddress"
                )
            elif holder is not None:
                self._taken[name] = _problem(check, f"Service {holder.service} has it already")
            else:
                self._checks[check.port] = check
        self._woken.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        http = web.Server(self._answer, access_log=None)
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._woken.clear()
                await self._bring(http)
                self._tell()
                retry_at = min((failure.retry_at for failure in self._failures.values()), default=None)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if retry_at is None else max(0.0, retry_at - loop.time())):
                        await self._woken.wait()
        finally:
            for server in self._open.values():
                server.close()
            await http.shutdown(_SHUTDOWN_SECONDS)

    async def _bring(self, http: web.Server) -> None:
        """Close what is no longer wanted, then open what is."""
        wanted = {self._own.port, *self._checks}
        for port in self._open.keys() - wanted:
            self._open.pop(port).close()
        for port in self._failures.keys() - wanted:
            del self._failures[port]
        for port in sorted(wanted - self._open.keys()):
            await self._try(http, port)

    async def _try(self, http: web.Server, port: int) -> None:
        loop = asyncio.get_running_loop()
        failure = self._failures.get(port)
        if failure is not None and loop.time() < failure.retry_at:
            return
        where = self._own if port == self._own.port else ListenAddress(host=_EVERYWHERE, port=port)
        try:
            listener = _listener(where)
        except OSError as error:
            reason = (
                f"{error.strerror or error}; it is tried again: end what listens there (ss -ltnp 'sport = :{port}')"
            )
            delays = failure.delays if failure is not None else self._sources.delays()
            check = self._checks.get(port)
            problem = (
                f"serviceHealthCheckServerBindAddress: {where}: {reason}" if check is None else _problem(check, reason)
            )
            self._failures[port] = _Failure(problem, delays, loop.time() + delays.next_delay())
            if failure is None or failure.problem != problem:
                _log.warning("a health check cannot be answered", problem=problem)
        else:
            self._failures.pop(port, None)
            self._open[port] = await loop.create_server(http, sock=listener)

    def _tell(self) -> None:
        own = self._failures.get(self._own.port)
        failed = {
            check.service: self._failures[port].problem
            for port, check in self._checks.items()
            if port in self._failures
        }
        report = HealthReport(problem="" if own is None else own.problem, of_services=failed | self._taken)
        if report != self._report:
            self._report = report
            self._sources.report(report)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        address, port = _local_end(request)
        if port == self._own.port:
            return self._of_the_proxy(request.path)
        check = self._checks.get(port)
        if check is None or not self._serves(address):
            return web.Response(status=404, text="no health check is answered here\n", headers={"Connection": "close"})
        return self._of_a_service(check)

    def _of_a_service(self, check: HealthCheck) -> web.Response:
        healthy = self._healthy()
        body = {
            "service": {"namespace": check.service.namespace, "name": check.service.name},
            "localEndpoints": check.local_endpoints,
            "serviceProxyHealthy": healthy,
        }
        return _response(
            body, good=healthy and check.local_endpoints > 0, **{WEIGHT_HEADER: str(check.local_endpoints)}
        )

    def _of_the_proxy(self, path: str) -> web.Response:
        if path not in {"/healthz", "/livez"}:
            return web.Response(status=404, text="there are /healthz and /livez\n")
        healthy, eligible, now = self._healthy(), self._sources.eligible(), self._sources.clock()
        pending = self._pending_since()
        body: dict[str, object] = {
            "lastUpdated": _time_text(now if pending is None else pending),
            "currentTime": _time_text(now),
        }
        if path == "/livez":
            return _response(body, good=healthy)
        return _response(body | {"nodeEligible": eligible}, good=healthy and eligible)

    def _healthy(self) -> bool:
        return is_healthy(self._pending_since(), self._sources.clock())

    def _pending_since(self) -> float | None:
        """Since when the switch has not had everything; until the first synchronisation, since the agent's start."""
        status = self._sources.status()
        return status.started_at if status.phase is Phase.STARTING else status.pending_since

    def _serves(self, address: str) -> bool:
        """Whether nodePortAddresses, which are for these ports, too, have the address."""
        found = ip_address(address)
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        return not self._addresses or any(found in network for network in self._addresses)


def _problem(check: HealthCheck, reason: str) -> str:
    return f"Service {check.service}: spec.healthCheckNodePort: {check.port}: {reason}"


def _listener(where: ListenAddress) -> socket.socket:
    """Listen at an address; `::` takes IPv4, too, and is all of IPv4 where the kernel has no IPv6. Raises OSError."""
    try:
        return _bound(socket.AF_INET6 if ":" in where.host else socket.AF_INET, where)
    except OSError as error:
        if where.host == _EVERYWHERE and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            return _bound(socket.AF_INET, ListenAddress(host="", port=where.port))
        raise


def _bound(family: socket.AddressFamily, where: ListenAddress) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(where.host != _EVERYWHERE))
        listener.bind((where.host, where.port))
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    return listener


def _local_end(request: web.BaseRequest) -> tuple[str, int]:
    """The address and port that the client came to."""
    transport = request.transport
    name: Any = transport.get_extra_info("sockname") if transport is not None else None
    return ("", 0) if name is None else (str(name[0]).partition("%")[0], int(name[1]))


def _response(body: Mapping[str, object], *, good: bool, **headers: str) -> web.Response:
    return web.Response(
        status=200 if good else 503, body=msgspec.json.encode(body) + b"\n", headers={**_JSON_HEADERS, **headers}
    )


def _time_text(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
