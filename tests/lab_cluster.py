"""A whole lab for tests, and quick ways to act in it: this is what tests in tests/lab/ are written with.

    def test_a_service_answers(cluster, namespace):
        cluster.deploy(namespace, "web", replicas=3)
        address = cluster.expose(namespace, "web", port=80)          # the ClusterIP
        client = cluster.pod(namespace, cluster.run_pod(namespace, "client"))
        answers = client.connect_many(address, 80, count=300)        # GET /hostname, a new connection each
        assert not answers.failed
        assert set(answers.hostnames) == set(cluster.pods_of(namespace, "web"))

`cluster` is one lab for the whole session (3 Nodes, dual stack, encap with Geneve); `namespace` is a fresh Kubernetes
namespace for each test. `running_cluster(...)` makes a lab with other options. A *place* is a Pod, a Node or a client;
its sockets are made inside its network namespace and used from the test's own process, so nothing is started for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from antrea_proxy.lab import leftovers, namespaces
from antrea_proxy.lab.places import STATE_ROOT, Places

PROGRAM = str(Path(sys.executable).parent / "antrea-proxy")
JsonObject = dict[str, Any]
_Result = TypeVar("_Result")
_LABS = itertools.count(1)
_OURS = re.compile(r"test(\d+)x\d+")

PATIENCE = float(os.environ.get("ANTREA_PROXY_TEST_PATIENCE", "1"))
"""Times as long may everything take before a test gives up; for machines that are emulated."""

DATAPATH = os.environ.get("ANTREA_PROXY_TEST_DATAPATH", "auto")
"""What `lab up --datapath` is given in every test; tests/kernel_vm sets `system`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What many connections came to: who answered how often, and how the rest failed."""

    hostnames: Counter[str]
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A Pod, a Node or a client, by its network namespace."""

    name: str
    netns: Path

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket inside; connecting and binding it happens there, from wherever it is called."""
        with namespaces.inside(self.netns):
            return socket.socket(family, kind, protocol)

    def connect(self, address: str, port: int, *, timeout: float = 3.0) -> socket.socket:
        """Open a TCP connection from here. Raises OSError (ConnectionRefusedError, TimeoutError …)."""
        sock = self.open_socket(_family(address), socket.SOCK_STREAM)
        sock.settimeout(timeout * PATIENCE)
        try:
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def get(self, address: str, port: int, path: str = "/hostname", *, timeout: float = 3.0) -> str:
        """GET a path over a new connection and give the body. Raises OSError."""
        with self.connect(address, port, timeout=timeout) as sock:
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: test\r\n\r\n".encode())
            received = bytearray()
            while part := sock.recv(65536):
                received += part
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"no answer 200 but {head[:80]!r}")
        return body.decode()

    def ask_udp(self, address: str, port: int, line: str = "hostname", *, timeout: float = 2.0) -> str:
        """Send one datagram from a new port and give the answer's line. Raises OSError, TimeoutError."""
        with self.open_socket(_family(address), socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout * PATIENCE)
            sock.connect((address, port))
            sock.send(line.encode() + b"\n")
            return sock.recv(65536).decode().rstrip("\n")

    def connect_many(
        self, address: str, port: int, *, count: int, at_once: int = 16, path: str = "/hostname", timeout: float = 5.0
    ) -> Answers:
        """GET a path `count` times, each over a new connection, `at_once` at a time."""
        answers = Answers(hostnames=Counter())
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                try:
                    async with asyncio.timeout(timeout * PATIENCE):
                        answers.hostnames[await self._get(address, port, path)] += 1
                except OSError as error:
                    answers.failed.append(f"{type(error).__name__}: {error}")

        async def work_together() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(work())

        asyncio.run(work_together())
        return answers

    async def _get(self, address: str, port: int, path: str) -> str:
        sock = self.open_socket(_family(address), socket.SOCK_STREAM)
        sock.settimeout(0)
        loop = asyncio.get_running_loop()
        with sock:
            await loop.sock_connect(sock, (address, port))
            await loop.sock_sendall(sock, f"GET {path} HTTP/1.0\r\nHost: test\r\n\r\n".encode())
            received = bytearray()
            while part := await loop.sock_recv(sock, 65536):
                received += part
        head, end, body = bytes(received).partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"no answer 200 but {head[:80]!r}")
        return body.decode()

    def run(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Call a function in a forked child that is inside, and give its result (it must pickle).

        Raises what the function raised.
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                namespaces.setns(self.netns, namespaces.CLONE_NEWNET)
                try:
                    outcome: tuple[bool, object] = (True, function(*arguments))
                except BaseException as error:  # noqa: BLE001 - it is handed to the parent
                    outcome = (False, error)
                with os.fdopen(writer, "wb") as pipe:
                    pickle.dump(outcome, pipe)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            data = pipe.read()
        os.waitpid(pid, 0)
        good, value = pickle.loads(data)  # noqa: S301 - our own child's
        if not good:
            raise value
        return value  # type: ignore[no-any-return]

    def command(self, *argv: str, check: bool = True, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a program inside; unlike `antrea-proxy lab exec` without its own /sys and host name."""
        return subprocess.run(
            ["nsenter", f"--net={self.netns}", *argv],
            check=check,
            capture_output=True,
            text=True,
            timeout=timeout * PATIENCE,
        )


class Cluster:
    """A running lab."""

    def __init__(self, places: Places) -> None:
        self.places = places

    @property
    def name(self) -> str:
        """The lab's name, for `--name`."""
        return self.places.name

    # The verbs and kubectl

    def lab(self, *arguments: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `antrea-proxy lab ARGUMENTS --name …` as a user would."""
        words = [PROGRAM, "lab", "--name", self.name, *arguments]
        return _checked(words, check=check, timeout=timeout)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60.0) -> str:
        """Run kubectl and give its standard output. Raises AssertionError with its error output where it fails."""
        environment = os.environ | {"KUBECONFIG": str(self.places.kubeconfig)}
        done = _checked(["kubectl", *arguments], check=check, timeout=timeout, stdin=stdin, environment=environment)
        return done.stdout

    def get(self, kind: str, *arguments: str) -> JsonObject:
        """Run `kubectl get KIND … -o json` and give the object or list."""
        found: JsonObject = json.loads(self.kubectl("get", kind, *arguments, "-o", "json"))
        return found

    def apply(self, *objects: JsonObject) -> None:
        """Apply objects (with their metadata.namespace)."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def status(self) -> JsonObject:
        """Give `lab status -o json`."""
        found: JsonObject = json.loads(self.lab("status", "-o", "json", check=False).stdout)
        return found

    # Places

    def pod(self, namespace: str, name: str) -> Place:
        """Give a running Pod as a place."""
        return Place(name=name, netns=self.places.pod_link(namespace, name).readlink())

    def node(self, name: str) -> Place:
        """Give a Node as a place."""
        return Place(name=name, netns=self.places.netns(name))

    def client(self, name: str = "client-1") -> Place:
        """Give a host outside of the cluster as a place."""
        return Place(name=name, netns=self.places.netns(name))

    @property
    def node_names(self) -> list[str]:
        """`node-1` and on."""
        return [node["metadata"]["name"] for node in self.get("nodes")["items"]]

    # Common objects

    def run_pod(
        self,
        namespace: str,
        name: str,
        *,
        node: str | None = None,
        labels: dict[str, str] | None = None,
        **spec: object,
    ) -> str:
        """Create a Pod with the built-in server (`spec` adds to its spec), wait until it is ready; gives its name."""
        self.apply(pod_object(namespace, name, node=node, labels=labels, **spec))
        self.kubectl("wait", "-n", namespace, f"pod/{name}", "--for=condition=Ready", f"--timeout={30 * PATIENCE:.0f}s")
        return name

    def deploy(self, namespace: str, name: str, *, replicas: int, **spec: object) -> None:
        """Create a Deployment of Pods with the built-in server, labelled app=NAME, and wait until it is rolled out."""
        self.apply(deployment_object(namespace, name, replicas=replicas, **spec))
        self.kubectl("rollout", "status", "-n", namespace, f"deployment/{name}", f"--timeout={60 * PATIENCE:.0f}s")

    def expose(self, namespace: str, name: str, *, port: int, **spec: object) -> str:
        """Create a Service on port -> 8080 of the Pods labelled app=NAME; gives its first ClusterIP.

        `spec` is laid over the Service's spec.
        """
        self.apply(service_object(namespace, name, port=port, **spec))
        address: str = self.get("service", "-n", namespace, name)["spec"]["clusterIP"]
        return address

    def pods_of(self, namespace: str, app: str) -> dict[str, JsonObject]:
        """Give the Pods labelled app=APP that are not on their way out, by name."""
        found = self.get("pods", "-n", namespace, "-l", f"app={app}")["items"]
        return {pod["metadata"]["name"]: pod for pod in found if not pod["metadata"].get("deletionTimestamp")}


def pod_object(
    namespace: str, name: str, *, node: str | None = None, labels: dict[str, str] | None = None, **spec: object
) -> JsonObject:
    """Give a Pod with the built-in server."""
    body = {
        "containers": [{"name": "server", "image": "pod-server"}],
        "terminationGracePeriodSeconds": 3,
        **({"nodeName": node} if node else {}),
        **spec,
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels or {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def deployment_object(namespace: str, name: str, *, replicas: int, **spec: object) -> JsonObject:
    """Give a Deployment of Pods with the built-in server, labelled app=NAME; `spec` adds to the Pods' spec."""
    template = pod_object(namespace, name, **spec)  # type: ignore[arg-type]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": template["spec"]},
        },
    }


def service_object(namespace: str, name: str, *, port: int, **spec: object) -> JsonObject:
    """Give a Service on port -> 8080 of the Pods labelled app=NAME; `spec` is laid over its spec."""
    body = {"selector": {"app": name}, "ports": [{"port": port, "targetPort": 8080}], **spec}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }


@contextlib.contextmanager
def running_cluster(*up_arguments: str) -> Iterator[Cluster]:
    """Make a lab with further arguments of `lab up`, and take it down whatever happens."""
    places = Places(name=f"test{os.getpid()}x{next(_LABS)}")
    cluster = Cluster(places)
    try:
        cluster.lab("up", "--datapath", DATAPATH, *up_arguments)
        yield cluster
    finally:
        leftovers.remove(places)


def remove_stale_labs() -> None:
    """Remove labs of test runs that were killed."""
    for entry in STATE_ROOT.iterdir() if STATE_ROOT.is_dir() else ():
        match = _OURS.fullmatch(entry.name)
        if match and not Path("/proc", match[1]).exists():
            leftovers.remove(Places(name=entry.name))


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = 15.0) -> None:
    """Poll until a condition holds. Raises AssertionError naming what did not come about."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.05)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _checked(
    words: Sequence[str],
    *,
    check: bool,
    timeout: float,
    stdin: str | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, timeout=timeout * PATIENCE, input=stdin, env=environment
    )
    assert not check or done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}: {done.stderr}"
    return done
