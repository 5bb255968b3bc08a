"""Readiness, liveness and startup probes: httpGet, tcpSocket and exec, from within the Pod's network namespace.

Defaults and meaning are the API's (core/v1 Probe).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.errors import LabError

RunCommand = Callable[[Sequence[str], float], Awaitable[int]]
"""Runs a command in the container's surroundings for at most so many seconds and gives its exit status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """When to probe (seconds) and how many answers of a kind in a row count; the defaults are the API's."""

    action: Mapping[str, Any]
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Probe:
        """Read core/v1 Probe."""
        return cls(
            action=value,
            initial_delay=value.get("initialDelaySeconds") or 0,
            period=value.get("periodSeconds") or 10,
            timeout=value.get("timeoutSeconds") or 1,
            success_threshold=value.get("successThreshold") or 1,
            failure_threshold=value.get("failureThreshold") or 3,
        )


class ProbeFailed(LabError):  # noqa: N818 - it is an answer, not a fault of the lab
    """The probe's answer is no; the text says why."""


async def watch(probe: Probe, check: Callable[[Probe], Awaitable[None]], changed: Callable[[bool, str], None]) -> None:
    """Probe for ever; `changed` is told each time that enough equal answers in a row have come, with the reason."""
    await asyncio.sleep(probe.initial_delay)
    in_row = 0
    last: bool | None = None
    while True:
        why = ""
        try:
            await check(probe)
        except ProbeFailed as failure:
            why = str(failure)
        good = not why
        in_row = in_row + 1 if good is last else 1
        last = good
        if in_row == (probe.success_threshold if good else probe.failure_threshold):
            changed(good, why)
        await asyncio.sleep(probe.period)


async def check_once(
    probe: Probe, *, netns: Path | str, address: str, ports: Mapping[str, int], run_command: RunCommand
) -> None:
    """Probe once.

    Raises ProbeFailed with the reason where the answer is no.
    """
    try:
        async with asyncio.timeout(probe.timeout):
            if (http := probe.action.get("httpGet")) is not None:
                await _http_get(http, netns=netns, address=address, ports=ports)
            elif (tcp := probe.action.get("tcpSocket")) is not None:
                _, writer = await _connect(netns, tcp.get("host") or address, _port(tcp, ports))
                writer.close()
            elif (command := probe.action.get("exec")) is not None:
                status = await run_command(command.get("command") or (), probe.timeout)
                if status != 0:
                    raise ProbeFailed(f"command {command.get('command')} exited with {status}")
            else:
                raise ProbeFailed("the lab knows the probes httpGet, tcpSocket and exec")
    except TimeoutError:
        raise ProbeFailed(f"no answer within {probe.timeout:g} s") from None
    except OSError as error:
        raise ProbeFailed(str(error)) from error


async def _http_get(http: Mapping[str, Any], *, netns: Path | str, address: str, ports: Mapping[str, int]) -> None:
    port = _port(http, ports)
    reader, writer = await _connect(netns, http.get("host") or address, port)
    try:
        headers = {"Host": f"{address}:{port}", "User-Agent": "kube-probe/lab", "Connection": "close"}
        headers |= {entry["name"]: entry["value"] for entry in http.get("httpHeaders") or ()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"GET {http.get('path') or '/'} HTTP/1.1\r\n{lines}\r\n".encode())
        answer = (await reader.readline()).decode("latin-1").split(" ", 2)
    finally:
        writer.close()
    if len(answer) < 2 or not answer[1].isdigit() or not 200 <= int(answer[1]) < 400:  # noqa: PLR2004 - RFC 9110
        raise ProbeFailed(f"HTTP probe failed with statuscode: {' '.join(answer[1:]).strip() or 'none'}")


async def _connect(netns: Path | str, address: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespaces.inside(netns):
        sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return await asyncio.open_connection(sock=sock)


def _port(action: Mapping[str, Any], ports: Mapping[str, int]) -> int:
    port = action.get("port")
    if isinstance(port, int):
        return port
    if str(port).isdigit():
        return int(str(port))
    if port not in ports:
        raise ProbeFailed(f"the container has no port named {port!r}")
    return ports[str(port)]
