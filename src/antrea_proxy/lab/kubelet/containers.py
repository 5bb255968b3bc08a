"""From a container's specification to the process that it is here. Pure.

There are no images: `command` and `args` run as an ordinary process of this machine in the Pod's network namespace;
without a command the built-in pod-server runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from antrea_proxy.lab.pod_server import DEFAULT_PORT, PodServerOptions
from antrea_proxy.lab.pod_server_arguments import parse_arguments
from antrea_proxy.lab.spawner import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What a container may be told of its Pod by `valueFrom.fieldRef`, and where it runs."""

    namespace: str
    name: str
    uid: str
    node: str
    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    netns: str
    hostname: str


def start_of(container: Mapping[str, Any], facts: PodFacts, *, first: bool) -> Start:
    """Say what to start for a container; `first` is the Pod's first one, whose built-in server also takes port 8080.

    Raises ValueError for arguments that the built-in server does not know.
    """
    environment = environment_of(container.get("env") or (), facts)
    command = [_expand(word, environment) for word in container.get("command") or ()]
    arguments = [_expand(word, environment) for word in container.get("args") or ()]
    directory = container.get("workingDir") or "/"
    if command:
        return Start(
            argv=(*command, *arguments),
            netns=facts.netns,
            hostname=facts.hostname,
            environment=environment,
            directory=directory,
        )
    options = parse_arguments(arguments, hostname=facts.name) if arguments else _declared(container, facts, first=first)
    return Start(pod_server=options, netns=facts.netns, hostname=facts.hostname, environment=environment)


def environment_of(entries: Sequence[Mapping[str, Any]], facts: PodFacts) -> dict[str, str]:
    """Give a container's environment: what the Pod asks for over the lab's own PATH, as the kubelet does."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/root",
        "HOSTNAME": facts.hostname,
    }
    for entry in entries:
        if "value" in entry:
            environment[entry["name"]] = _expand(str(entry["value"]), environment)
        elif path := ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath"):
            environment[entry["name"]] = _field(path, facts)
        else:
            environment.setdefault(entry["name"], "")
    return environment


def _declared(container: Mapping[str, Any], facts: PodFacts, *, first: bool) -> PodServerOptions:
    ports: dict[str, dict[int, None]] = {"TCP": {}, "UDP": {}, "SCTP": {}}
    if first:
        ports["TCP"][DEFAULT_PORT] = ports["UDP"][DEFAULT_PORT] = None
    for port in container.get("ports") or ():
        ports[port.get("protocol") or "TCP"][port["containerPort"]] = None
    return PodServerOptions(
        hostname=facts.name,
        tcp_ports=tuple(ports["TCP"]),
        udp_ports=tuple(ports["UDP"]),
        sctp_ports=tuple(ports["SCTP"]),
    )


def _expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace $(NAME) of known names, as the API says of command, args and env."""
    for name, value in environment.items():
        text = text.replace(f"$({name})", value)
    return text


def _field(path: str, facts: PodFacts) -> str:
    simple = {
        "metadata.name": facts.name,
        "metadata.namespace": facts.namespace,
        "metadata.uid": facts.uid,
        "spec.nodeName": facts.node,
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path in simple:
        return simple[path]
    for prefix, values in (("metadata.labels['", facts.labels), ("metadata.annotations['", facts.annotations)):
        if path.startswith(prefix):
            return values.get(path[len(prefix) : -2], "")
    return ""
