"""The chart and the plain manifest: what they ask for is what the agent needs, and what the agent takes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from antrea_proxy import settings
from antrea_proxy.cni.installer import check_conflist
from antrea_proxy.kubernetes.kinds import KINDS, NODES, AnyKind
from antrea_proxy.kubernetes.objects import Node, ObjectMeta
from antrea_proxy.sinks import EventText, Severity, create_event, patch_node_annotation
from antrea_proxy.sources import ApiClient, ApiServerSource, cluster_access
from scripted_api_server import answer, event, listing, scripted, watching

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "chart"
PLAIN = ROOT / "deploy" / "antrea-proxy.yaml"
RENDER = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import chart
print(chart.render(pathlib.Path(sys.argv[2]), "kube-system", json.loads(sys.argv[3])))
"""
_GONE = event("DELETED", {"metadata": {"name": "a", "namespace": "b", "resourceVersion": "2"}})
Right = tuple[str, str, str]
"""API group, resource, verb."""


def _rendered(values: str = "{}") -> dict[str, Any]:
    """Render the chart; give its objects by kind."""
    words = [sys.executable, "-c", RENDER, str(ROOT / "script" / "lib"), str(CHART), values]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return _by_kind(done.stdout)


def _by_kind(text: str) -> dict[str, Any]:
    return {item["kind"]: item for item in yaml.safe_load_all(text) if item}


def _granted(role: Mapping[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _asked(paths: Iterable[str], queries: Iterable[Mapping[str, str]]) -> set[Right]:
    """Read requests as the API server's authorizer does."""
    verbs = {"POST": "create", "PATCH": "patch"}
    asked = set()
    for line, query in zip(paths, queries, strict=True):
        method, path = line.split()
        found = re.fullmatch(r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/[^/]+)?/([a-z]+)(/[^/]+)?", path)
        assert found, path
        verb = verbs.get(method) or ("get" if found[3] else "watch" if query.get("watch") else "list")
        asked.add((found[1] or "", found[2], verb))
    return asked


async def _list_and_watch(client: ApiClient, kind: AnyKind) -> None:
    """Follow a kind until its first event, which a watch brings."""
    source = ApiServerSource(client=client, on_status=lambda _: None, streaming_lists=False)
    async with contextlib.aclosing(source.watch(kind)) as batches:
        await anext(batches)
        await anext(batches)


def _requests_of_an_agent(directory: Path, *, announces: bool) -> set[Right]:
    """Ask a server for all that an agent asks one for."""

    async def run() -> set[Right]:
        steps = [step for _ in KINDS for step in (listing(version=1), watching(_GONE, then="hold"))]
        async with scripted(*steps, answer(201, {}), answer(200, {})) as server, asyncio.timeout(20):
            async with ApiClient(cluster_access(server.kubeconfig(directory / "kubeconfig"), {})) as client:
                for kind in KINDS:
                    await _list_and_watch(client, kind)
                text = EventText(severity=Severity.NORMAL, reason="Started", message="it runs")
                await create_event(client, NODES, Node(metadata=ObjectMeta(name="node-1")), text, node="node-1")
                if announces:
                    await patch_node_annotation(client, "node-1", "a", "b")
            return _asked(server.paths, server.requests)

    return asyncio.run(run())


@pytest.mark.parametrize(("values", "announces"), [("{}", False), ('{"config": {"transportInterface": "eth1"}}', True)])
def test_the_agent_is_granted_what_it_asks_for_and_nothing_else(
    tmp_path: Path, values: str, *, announces: bool
) -> None:
    """To patch Nodes only where it announces its tunnel's end there."""
    assert _granted(_rendered(values)["ClusterRole"]) == _requests_of_an_agent(tmp_path, announces=announces)


def test_the_plain_manifest_is_the_chart_as_it_stands() -> None:
    """Else script/manifests was forgotten."""
    assert _by_kind(PLAIN.read_text()) == _rendered()


def test_an_agent_starts_with_the_configuration_and_a_runtime_with_the_conflist() -> None:
    """Both are in the ConfigMap that Antrea has, too."""
    found = _rendered('{"config": {"antreaProxy": {"proxyAll": true, "skipServices": ["kube-system/kube-dns"]}}}')
    assert found["ConfigMap"]["metadata"]["name"] == "antrea-config"
    data = found["ConfigMap"]["data"]
    parsed = settings.parse(data["antrea-agent.conf"])
    assert parsed.antrea_proxy.proxy_all
    assert parsed.not_used == ()
    check_conflist(data["antrea-cni.conflist"], "the chart")


def test_paths_and_ports_of_the_daemon_set_are_those_of_the_settings() -> None:
    """The agent's sockets are in directories of the Node, and probes ask where the API listens."""
    spec = _rendered()["DaemonSet"]["spec"]["template"]["spec"]
    default = settings.parse("")
    mounted = {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    assert {default.ovs_run_dir, str(Path(default.cni_socket).parent)} <= mounted
    probes = [spec["containers"][0][f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")]
    assert {(probe["host"], probe["port"]) for probe in probes} == {("127.0.0.1", default.api_port)}
    moved = _rendered('{"config": {"apiPort": 10400}}')["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    assert moved["livenessProbe"]["httpGet"]["port"] == 10400


def test_a_changed_configuration_restarts_the_agents_one_node_at_a_time() -> None:
    """The template says which configuration it is for; the rest stays as it was."""
    before, after = _rendered()["DaemonSet"]["spec"], _rendered('{"config": {"noSNAT": false}}')["DaemonSet"]["spec"]
    assert before["template"] != after["template"]
    assert before["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
    assert before["selector"] == after["selector"]
