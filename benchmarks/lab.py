"""A lab for benchmarks: Nodes, Pods, and the ways into them; by the public commands alone."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from antrea_proxy.lab.places import Places
from benchmarks.sandbox import BenchmarkError

PROGRAM: Final = str(Path(sys.executable).parent / "antrea-proxy")
NODE: Final = ("--node", "node-1")
OUTSIDE: Final = ("--client", "client-1")
"""A host beyond the cluster."""

PORT: Final = 8080
"""Where servers listen."""

NGINX: Final = """
daemon off; master_process off; pid {pid}; error_log stderr error;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; sendfile on; server {{
listen {port} backlog=4096 reuseport;
location / {{ return 200 "ok\\n"; }} location = /large {{ alias {large}; }} }} }}
"""
LARGE: Final = "/large"
"""What nginx answers with LARGE_BYTES."""
LARGE_BYTES: Final = 8 * 1024 * 1024

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_TRANSFER: Final = re.compile(r"Transfer/sec:\s+([\d.]+)(B|KB|MB|GB)")
_LATENCY: Final = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", re.MULTILINE)
_ERRORS: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_UNITS: Final = {"B": 1.0, "KB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3, "us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk saw: requests and bytes a second, the latency of a request in seconds, and how many failed."""

    requests: float
    bytes: float
    p50: float
    p99: float
    failed: int


class BenchLab:
    """A lab; `configuration` is its antrea-agent.conf, `environment` its agents'. No Node named means node-1."""

    def __init__(
        self,
        name: str,
        configuration: str = "",
        *,
        nodes: int = 1,
        datapath: str = "netdev",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._nodes = nodes
        self._datapath = datapath
        self._configuration = configuration
        self._places = Places(name=name)
        self._environment = {**os.environ, **(environment or {})}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Make it, and take it down whatever happens."""
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                file.write(self._configuration)
                file.flush()
                given = ["--config", file.name] if self._configuration else []
                self.command("up", "--nodes", str(self._nodes), "--datapath", self._datapath, *given)
            self._environment["KUBECONFIG"] = self.command("kubeconfig").strip()
            yield
        finally:
            subprocess.run([PROGRAM, "lab", "down", "--name", self._name], check=False, capture_output=True)

    def command(self, verb: str, *words: str) -> str:
        """Run `antrea-proxy lab VERB`."""
        return self.run(PROGRAM, "lab", verb, "--name", self._name, *words)

    def create(self, *objects: dict[str, Any]) -> None:
        """Make objects."""
        document = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.run("kubectl", "create", "-f", "-", given=document.decode())

    def pod(self, name: str, *command: str, node: str = "node-1", labels: dict[str, str] | None = None) -> str:
        """Make a Pod and wait for it; return its address. TIME-WAIT does not keep ports from being used again in it."""
        container: dict[str, Any] = {"name": "main", "image": "none"}
        if command:
            container["command"] = list(command)
        metadata = {"name": name, "labels": labels or {}}
        spec = {"nodeName": node, "containers": [container]}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.run("kubectl", "wait", "pod", name, "--for=condition=Ready", "--timeout=60s")
        self.forget_closed_connections((name,))
        found = msgspec.json.decode(self.run("kubectl", "get", "pod", name, "-o", "json"))
        return str(found["status"]["podIP"])

    def nginx(self) -> tuple[str, ...]:
        """Return the command of a server that answers every request at once."""
        place = self.node_directory / "nginx"
        place.mkdir(exist_ok=True)
        configuration = place / "nginx.conf"
        large = place / "large"
        with large.open("wb") as file:
            file.truncate(LARGE_BYTES)
        configuration.write_text(NGINX.format(port=PORT, pid=place / "nginx.pid", large=large))
        return "nginx", "-c", str(configuration), "-p", str(place)

    def forget_closed_connections(self, place: Sequence[str]) -> None:
        """Keep no TIME-WAIT (tcp(7)): at thousands of connections a second, ports come up again too soon for it.

        The kernel's tracker would keep what it sees for two minutes, and drop packets when its table is full.
        """
        tracker = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait"
        words = f"echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets; [ ! -e {tracker} ] || echo 1 > {tracker}"
        self.inside(place, "sh", "-c", words)

    def await_endpoints(self, name: str, endpoints: int) -> dict[str, Any]:
        """Wait until the agent has a Service with so many endpoints; return it as the agent shows it."""

        def there() -> bool:
            found = self.service_on("node-1", name)
            return bool(found["ports"]) and all(port["endpointsInUse"] == endpoints for port in found["ports"])

        self.wait_until(there, f"the agent has Service {name} with {endpoints} endpoints")
        return self.service_on("node-1", name)

    def service_on(self, node: str, name: str) -> dict[str, Any]:
        """Return a Service as a Node's agent shows it; one that it does not have has no ports."""
        told = self.run(PROGRAM, "get", "services", "-o", "json", "--lab", self._name, "--node", node)
        items: list[dict[str, Any]] = msgspec.json.decode(told)["items"]
        return next((item for item in items if item["name"] == name), {"ports": []})

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a minute at most. Raises BenchmarkError saying what never was."""
        for _ in range(600):
            if condition():
                return
            time.sleep(0.1)
        raise BenchmarkError(f"not within a minute: {what}")

    def open_connections(
        self, place: Sequence[str], address: str, port: int, *, seconds: int, connections: int
    ) -> tuple[float, int]:
        """Let wrk open connections from a place for so long; return how many a second, and how many failed."""
        url = f"http://{address}:{port}/"
        load = self.load(place, url, "-H", "Connection: close", seconds=seconds, connections=connections)
        return load.requests, load.failed

    def load(self, place: Sequence[str], url: str, *words: str, seconds: int, connections: int) -> Load:
        """Let wrk ask from a place for so long, over as many connections at once."""
        return load_told(self.inside(place, *wrk(url, *words, seconds=seconds, connections=connections)))

    def appctl(self, *words: str, node: str = "node-1") -> str:
        """Run ovs-appctl on a Node's switch."""
        directory = self._places.node(node).ovs
        pid = (directory / "ovs-vswitchd.pid").read_text().strip()
        return self.run("ovs-appctl", "-t", str(directory / f"ovs-vswitchd.{pid}.ctl"), *words)

    def ofctl(self, *words: str) -> str:
        """Run ovs-ofctl on node-1's bridge: options and a command, then what follows the bridge's name, if anything."""
        *command, text = words
        bridge = f"unix:{self._places.node('node-1').ovs / 'br-int.mgmt'}"
        return self.run("ovs-ofctl", "-O", "OpenFlow15", *command, bridge, *([text] if text else []))

    def upcalls(self) -> int:
        """Return how many packets met no megaflow on node-1 so far."""
        found = re.search(r"missed:(\d+)", self.appctl("dpctl/show"))
        return int(found[1]) if found else 0

    def forget_switched_connections(self, node: str = "node-1") -> None:
        """Let a switch begin a turn as if it were the first: without megaflows and tracked connections.

        Before 3.3 its userspace tracker keeps the replies' tuples of up to 20 s ago, of which a client and an endpoint
        have 64,512; more connections than these in 20 s would measure that limit, which is told of in its place.
        """
        self.appctl("dpctl/flush-conntrack", node=node)
        self.appctl("revalidator/purge", node=node)

    @property
    def node_directory(self) -> Path:
        """The folder of the Node; it goes with the lab."""
        return self._places.node("node-1").ovs.parent

    def inside(self, place: Sequence[str], *words: str) -> str:
        """Run a command in a place: a Pod's name, NODE or OUTSIDE."""
        return self.run(*self.exec_words(place), *words)

    def exec_words(self, place: Sequence[str]) -> tuple[str, ...]:
        """Return the words that run a command in a place."""
        return PROGRAM, "lab", "exec", "--name", self._name, *place, "--"

    def run(self, *words: str, given: str | None = None) -> str:
        """Run a command with the lab's kubeconfig. Raises BenchmarkError with its words if it fails."""
        done = subprocess.run(
            words, input=given, env=self._environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode:
            raise BenchmarkError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout


def service(name: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """A Service without a selector, port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


def slice_of(name: str, number: int, addresses: Sequence[str]) -> dict[str, Any]:
    """An EndpointSlice of a Service with these ready endpoints."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-{number}", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
    }


def wrk(url: str, *words: str, seconds: int, connections: int) -> tuple[str, ...]:
    """Return the command that asks a server for so long, over as many connections at once."""
    return "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--latency", *words, url


def load_told(told: str) -> Load:
    """Read what wrk said. Raises BenchmarkError if that is nothing of a rate.

    wrk counts a connection that the server closes after its answer as a read error: only the others are failures.
    """
    rate, transfer, errors = _RATE.search(told), _TRANSFER.search(told), _ERRORS.search(told)
    latency = {percent: float(value) * _UNITS[unit] for percent, value, unit in _LATENCY.findall(told)}
    if rate is None or transfer is None or latency.keys() != {"50", "99"}:
        raise BenchmarkError(f"wrk said nothing of a rate: {told}")
    return Load(
        requests=float(rate[1]),
        bytes=float(transfer[1]) * _UNITS[transfer[2]],
        p50=latency["50"],
        p99=latency["99"],
        failed=sum(map(int, errors.groups())) - int(errors[2]) if errors else 0,
    )
