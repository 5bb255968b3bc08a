"""What the daemon answers to the verbs of `antrea-proxy lab`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from antrea_proxy import __version__
from antrea_proxy.lab import underlay
from antrea_proxy.lab.api_server.resources import NODES, PODS
from antrea_proxy.lab.control_plane.nodes import is_ready
from antrea_proxy.lab.control_server import Handler
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.fault import FORBIDDEN_KIND, Fault

if TYPE_CHECKING:
    from antrea_proxy.lab.daemon import Lab
    from antrea_proxy.lab.node import LabNode

JsonObject = dict[str, Any]


class Verbs:
    """The handlers; each takes the request and gives the answer, or raises LabError."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._routes = dict.fromkeys(lab.options.client_names, lab.options.next_to_clients)

    @property
    def handlers(self) -> dict[str, Handler]:
        """By the verb's name."""
        return {
            "options": self._options,
            "status": self._status,
            "restart": self._restart,
            "route": self._route,
            "fault": self._fault,
        }

    async def _options(self, _request: JsonObject) -> JsonObject:
        return {"options": self._lab.options.as_json()}

    async def _restart(self, request: JsonObject) -> JsonObject:
        node = self._node(request["node"])
        kill = bool(request.get("kill"))
        if request["what"] == "agent":
            program = request.get("program")
            self._lab.overridden = await node.restart_agent(kill=kill, program=Path(program) if program else None)
            return {"overridden": self._lab.overridden}
        if request["what"] == "node":
            self._lab.overridden = await node.reboot()
            return {"overridden": self._lab.overridden}
        await node.restart_switch(kill=kill)
        return {}

    async def _route(self, request: JsonObject) -> JsonObject:
        client, via = str(request["client"]), tuple(request["via"])
        if client not in self._routes:
            raise LabError(f"there is no client {client!r}; there are {', '.join(self._routes) or 'none'}")
        for name in via:
            self._node(name)
        underlay.route_client(self._lab.places, self._lab.options, client, via)
        self._routes[client] = via
        return {}

    async def _fault(self, request: JsonObject) -> JsonObject:
        fault = None if request["fault"] is None else Fault(request["fault"])
        self._lab.faults.switch(fault, kind=str(request.get("kind", FORBIDDEN_KIND)))
        return {}

    def _node(self, name: str) -> LabNode:
        if name not in self._lab.nodes:
            raise LabError(f"there is no Node {name!r}; there are {', '.join(self._lab.nodes)}")
        return self._lab.nodes[name]

    async def _status(self, request: JsonObject) -> JsonObject:
        lab = self._lab
        wiring: list[str] = []
        if request.get("check"):
            for node in lab.nodes.values():
                wiring += await node.kubelet.check_wiring()
        pods = [_pod(record.object) for record in lab.store.records(PODS)]
        nodes = [self._node_status(record.object, pods) for record in lab.store.records(NODES)]
        return {
            "name": lab.places.name,
            "version": __version__,
            "healthy": not (problems := [*lab.problems, *_problems(nodes, pods), *wiring]),
            "problems": problems,
            "notes": [
                *(f"the lab overrides antrea-agent.conf: {overridden}" for overridden in lab.overridden),
                *(
                    ()
                    if (fault := lab.faults.current) is None
                    else (f"fault {fault}: for the agents, {fault.meaning}",)
                ),
            ],
            "options": {key: value for key, value in lab.options.as_json().items() if key != "config"},
            "datapath": lab.datapath.value,
            "upSeconds": round(lab.up_seconds, 2),
            "apiServer": lab.api_url,
            "kubeconfig": str(lab.places.kubeconfig),
            "nodes": nodes,
            "clients": [
                {"name": name, "addresses": [str(a) for a in lab.plan.client(number)], "via": list(self._routes[name])}
                for number, name in enumerate(lab.options.client_names, 1)
            ],
            "pods": pods,
        }

    def _node_status(self, obj: JsonObject, pods: list[JsonObject]) -> JsonObject:
        name = obj["metadata"]["name"]
        node = self._lab.nodes.get(name)
        status: JsonObject = {
            "name": name,
            "ready": is_ready(obj),
            "zone": (obj["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone", ""),
            "addresses": [
                a["address"] for a in obj.get("status", {}).get("addresses", ()) if a["type"] == "InternalIP"
            ],
            "podCIDRs": obj.get("spec", {}).get("podCIDRs", []),
            "pods": sum(pod["node"] == name for pod in pods),
        }
        if node is not None:
            switch, agent = node.switch, node.agent
            running = all(program is not None and program.running for program in (switch.database, switch.daemon))
            status |= {
                "tunnelAddresses": list(node.tunnel_addresses),
                "agent": {
                    "running": agent.pid is not None,
                    "ready": agent.ready.is_set(),
                    "pid": agent.pid,
                    "crashes": agent.crashes,
                    "lastProblem": agent.last_problem,
                    "log": str(node.places.agent_log),
                },
                "switch": {
                    "running": running,
                    "pid": switch.daemon.pid if switch.daemon is not None else None,
                    "crashes": node.switch_crashes,
                    "directory": str(node.places.ovs),
                },
            }
        return status


def _pod(obj: JsonObject) -> JsonObject:
    status = obj.get("status") or {}
    conditions = status.get("conditions") or ()
    waiting = [
        state["waiting"]
        for container in status.get("containerStatuses") or ()
        if "waiting" in (state := container.get("state") or {})
    ]
    scheduled = next((c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)
    return {
        "namespace": obj["metadata"]["namespace"],
        "name": obj["metadata"]["name"],
        "node": obj["spec"].get("nodeName", ""),
        "ips": [entry["ip"] for entry in status.get("podIPs") or ()],
        "phase": "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "Pending"),
        "ready": any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        "reason": scheduled["message"] if scheduled else "; ".join(w.get("message") or w["reason"] for w in waiting),
    }


def _problems(nodes: list[JsonObject], pods: list[JsonObject]) -> list[str]:
    found = []
    for node in nodes:
        agent, switch = node.get("agent"), node.get("switch")
        if not node["ready"]:
            found.append(f"{node['name']} is not ready")
        if agent is not None and not agent["ready"]:
            why = agent["lastProblem"] or "it is being started"
            found.append(f"the agent of {node['name']} is not ready: {why}; log: {agent['log']}")
        if switch is not None and not switch["running"]:
            found.append(f"the switch of {node['name']} does not run; logs: {switch['directory']}")
    for pod in pods:
        if not pod["ready"] and pod["phase"] not in {"Succeeded", "Terminating"}:
            why = f": {pod['reason']}" if pod["reason"] else ""
            found.append(f"Pod {pod['namespace']}/{pod['name']} is not ready ({pod['phase']}){why}")
    return found
