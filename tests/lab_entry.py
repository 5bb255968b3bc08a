"""A lab with proxyAll, and questions at every kind of address: what tests of Services from outside start from."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from lab_cluster import PATIENCE, Cluster, Place, pod_object, running_cluster, service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, ask_agent, await_service

NAMESPACE = "entry"
FAMILIES = (4, 6)
TARGET_PORTS = {"pod": 8080, "host": 18080}
"""Of the endpoints: a Pod on node-1, and one on node-1's own network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A client of one kind that asks at an address of one kind, at or by way of the Node `ingress`."""

    service: str
    policy: str
    kind: str
    client: str
    ingress: str
    family: int
    protocol: str

    @property
    def local(self) -> bool:
        """Whether the endpoint is on the Node by which the client comes."""
        return self.ingress == "node-1"


def questions(services: Iterable[str], kinds: Iterable[str], **same: str) -> list[Question]:
    """Ask of each Service at each kind of address, in both families, over TCP and UDP; `same` is what all share."""
    return [
        Question(service=service, kind=kind, family=family, protocol=protocol, **same)
        for service, kind, family, protocol in itertools.product(services, kinds, FAMILIES, ("tcp", "udp"))
    ]


class Entry:
    """A lab of two Nodes with proxyAll, and Services of one endpoint on node-1, of each policy.

    With `direct`, Services are in DSR mode wherever they can be; `spec` is what all of them have beside.
    """

    def __init__(self, cluster: Cluster, mode: str, *, direct: bool = False, **spec: object) -> None:
        self.cluster = cluster
        self.mode = mode
        self.direct = direct
        cluster.kubectl("create", "namespace", NAMESPACE)
        container = {"name": "c", "image": "pod-server", "args": ["--port", "18080", "--hostname", "host"]}
        on_host = {"hostNetwork": True, "containers": [container]}
        cluster.apply(
            pod_object(NAMESPACE, "client-1", node="node-1", labels={"app": "client"}),
            pod_object(NAMESPACE, "client-2", node="node-2", labels={"app": "client"}),
            pod_object(NAMESPACE, "pod", node="node-1", labels={"app": "pod"}),
            pod_object(NAMESPACE, "host", node="node-1", labels={"app": "host"}, **on_host),
        )
        wait = ("wait", "-n", NAMESPACE, "pods", "--all", "--for=condition=Ready", f"--timeout={60 * PATIENCE:.0f}s")
        cluster.kubectl(*wait)
        for number, (app, policy) in enumerate(itertools.product(TARGET_PORTS, ("Cluster", "Local")), start=1):
            self.service(
                f"{app}-{policy.lower()}",
                app=app,
                externalTrafficPolicy=policy,
                externalIPs=[f"172.31.0.{number}", f"fd00:31::{number}"],
                **spec,
            )

    def service(self, name: str, *, app: str, **spec: object) -> None:
        """Make a Service of type LoadBalancer, TCP and UDP 80, and wait until all Nodes have it."""
        ports = [{**port, "targetPort": TARGET_PORTS[app]} for port in BOTH_PROTOCOLS]
        given = {"selector": {"app": app}, "type": "LoadBalancer", "ports": ports, **DUAL, **spec}
        self.cluster.apply(service_object(NAMESPACE, name, port=80, **given))
        await_service(self.cluster, NAMESPACE, name)
        self.settle()

    def remove(self, name: str) -> None:
        """Remove a Service."""
        self.cluster.kubectl("delete", "service", "-n", NAMESPACE, name)

    def settle(self) -> None:
        """Wait until every Node's own network stack has what Services ask for."""
        for node in ("node-1", "node-2"):
            wait_until(lambda node=node: self._settled(node), f"{node} has all entries of Services")  # type: ignore[misc]

    def _settled(self, node: str) -> bool:
        host = ask_agent(self.cluster, node, "/v1/status")["host"]
        return not host["pending"] and not host["problem"]

    @cache  # noqa: B019 - as long-lived as the lab
    def addresses(self, name: str) -> dict[str, tuple[str, ...]]:
        """Give a Service's addresses by kind, IPv4 first; those of NodePorts are the Nodes' own."""
        service = self.cluster.get("service", "-n", NAMESPACE, name)
        ingress = service["status"]["loadBalancer"]["ingress"]
        return {
            "ClusterIP": tuple(service["spec"]["clusterIPs"]),
            "load-balancer IP": (ingress[0]["ip"], ingress[1]["ip"]),
            "external IP": tuple(service["spec"].get("externalIPs", ())),
        }

    @cache  # noqa: B019 - as long-lived as the lab
    def node_port(self, name: str, protocol: str) -> int:
        """Give the NodePort of a Service's TCP or UDP port."""
        ports = self.cluster.get("service", "-n", NAMESPACE, name)["spec"]["ports"]
        return next(int(port["nodePort"]) for port in ports if port["protocol"].lower() == protocol)

    def place(self, question: Question) -> Place:
        """Give the client."""
        match question.client:
            case "Pod":
                return self.cluster.pod(NAMESPACE, f"client-{question.ingress[-1]}")
            case "Node":
                return self.cluster.node(question.ingress)
            case _:
                return self.cluster.client()

    def asked_at(self, question: Question) -> tuple[str, int]:
        """Give the address and port at which the client asks."""
        name = f"{question.service}-{question.policy.lower()}"
        if question.kind == "NodePort":
            return node_address(question.ingress, question.family), self.node_port(name, question.protocol)
        return self.addresses(name)[question.kind][FAMILIES.index(question.family)], 80

    def answer(self, question: Question) -> str | None:
        """Give the client's address as the endpoint saw it, None if nobody answers in time."""
        place, (address, port) = self.place(question), self.asked_at(question)
        try:
            if question.protocol == "tcp":
                seen = place.get(address, port, "/clientip", timeout=1)
                name = place.get(address, port, timeout=1)
            else:
                seen = place.ask_udp(address, port, "clientip", timeout=1)
                name = place.ask_udp(address, port, "hostname", timeout=1)
        except TimeoutError:
            return None
        assert name == question.service, f"{question}: {name} answered"
        return seen.rpartition(":")[0].strip("[]")

    def assert_answered(self, questions: Sequence[Question]) -> None:
        """Ask all of them at once; each client is seen as behaviour says, or dropped."""
        with ThreadPoolExecutor(len(questions)) as pool:
            answers = list(pool.map(self.answer, questions))
        wrong = [
            f"{question}: seen as {answer}, not {self.expected(question)}"
            for question, answer in zip(questions, answers, strict=True)
            if answer not in self.expected(question)
        ]
        assert not wrong, "\n".join(wrong)

    def expected(self, question: Question) -> set[str | None]:
        """Give as whom the endpoint sees the client (behaviour), None for a connection that is dropped.

        The Node's own address is any that it has, the gateway's included.
        """
        gateway = gateway_of(question.ingress, question.family)
        node = {network.format(question.ingress[-1]) for network in NODE_NETWORKS[question.family]}
        beyond = node if self.mode == "noEncap" or question.service == "host" else {gateway}
        match question.client:
            case "Pod":
                itself = self.pod_addresses(f"client-{question.ingress[-1]}")[FAMILIES.index(question.family)]
                return {itself} if question.service == "pod" or question.local else {*node}
            case "Node":
                return {*node, gateway} if question.local else {*beyond}
            case _ if question.policy == "Local" and not question.local:
                return {None}
            case _ if self.direct and question.service == "pod" and question.kind != "NodePort":
                return {CLIENT[question.family]}
            case _:
                return {CLIENT[question.family]} if question.local else {*beyond}

    @cache  # noqa: B019 - as long-lived as the lab
    def pod_addresses(self, name: str) -> Sequence[str]:
        """Give a Pod's addresses, IPv4 first."""
        return [entry["ip"] for entry in self.cluster.get("pod", "-n", NAMESPACE, name)["status"]["podIPs"]]


CLIENT = {4: "172.18.0.101", 6: "fd00:18::101"}


NODE_NETWORKS = {4: ("172.18.0.{}", "172.19.0.{}"), 6: ("fd00:18::{}", "fd00:19::{}")}
"""A Node's addresses by its number: among all, and where there are tunnels among the Nodes."""


def node_address(node: str, family: int) -> str:
    """Give a Node's address that those outside know."""
    return NODE_NETWORKS[family][0].format(node[-1])


def gateway_of(node: str, family: int) -> str:
    """Give the address of a Node's gateway."""
    return f"10.10.{node[-1]}.1" if family == 4 else f"fd00:10:{node[-1]}::1"


@contextmanager
def entry_lab(mode: str, *, direct: bool = False, **spec: object) -> Iterator[Entry]:
    """Make a lab of two Nodes with proxyAll in an encapsulation mode, and take it down; the rest is as of Entry."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        load_balancers = ", defaultLoadBalancerMode: dsr" if direct else ""
        config.write(f"featureGates: {{LoadBalancerModeDSR: {str(direct).lower()}}}\n")
        config.write(f"antreaProxy: {{proxyAll: true{load_balancers}}}\n")
        config.flush()
        with running_cluster("--nodes", "2", "--encap-mode", mode, "--config", config.name) as cluster:
            yield Entry(cluster, mode, direct=direct, **spec)
