"""`antrea-proxy get`, `trace` and `config` as a user meets them, against the API on a real socket."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner, Result

from antrea_proxy.cli import agents, config, get, trace
from antrea_proxy.cli.trace import Target, parse_target
from antrea_proxy.lab.places import Places
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.settings import Settings
from api_server import RunningApi, free_port, running_api
from worlds import SERVICES, SLICES, WORLD, network, world


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningApi]:
    """The API of the usual world, where the commands look for it; no lab is up."""
    monkeypatch.setattr(agents, "lab_nodes", lambda _places: [])
    with running_api(tmp_path, WORLD.status()) as running:
        monkeypatch.setenv("ANTREA_PROXY_SOCKET", str(running.socket_path))
        yield running


def run(app: Typer, *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(words))


def test_services_are_a_table_as_kubectl_prints_them(api: RunningApi) -> None:
    result = run(get.app, "services")
    assert result.exit_code == 0
    assert result.stdout == (
        "NAME       STATE                 CLUSTER-IP               EXTERNAL-IP   PORT(S)         ENDPOINTS     FLOWS\n"
        "broken     not-served,problems   <none>                   <none>        <none>          <none>        1\n"
        "empty      balanced              10.96.0.12               <none>        80/TCP          0 (refused)   2\n"
        "headless   left-alone            <none>                   <none>        <none>          <none>        0\n"
        "local      balanced              10.96.0.13               <none>        80/TCP          0 (dropped)   2\n"
        "self       balanced              10.96.0.14               <none>        80/TCP          1             2\n"
        "single     balanced              10.96.0.11               <none>        80/TCP          1             2\n"
        "web        balanced              10.96.0.10,fd00:96::10   <none>        80/TCP,53/UDP   3,3,2,2       6\n"
    )


def test_wide_says_why_a_service_is_left_alone_and_what_is_wrong(api: RunningApi) -> None:
    text = run(get.app, "svc", "-o", "wide").stdout
    assert "it is headless (clusterIP None)" in text
    assert "70000: must be 1 to 65535; this port is not served" in text


def test_a_service_that_is_asked_for_by_name_says_what_is_wrong_in_whole_sentences(api: RunningApi) -> None:
    lines = run(get.app, "service", "broken").stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["NAME", "broken"]
    assert lines[2:] == [
        "  Service default/broken: spec.ports[0].port: 70000: must be 1 to 65535; this port is not served"
    ]
    assert run(get.app, "service", "headless").stdout.splitlines()[2:] == ["  it is headless (clusterIP None)"]
    assert len(run(get.app, "service", "web").stdout.splitlines()) == 2, "nothing is wrong"


def test_endpoints_say_why_each_is_in_or_out(api: RunningApi) -> None:
    lines = run(get.app, "endpoints", "web").stdout.splitlines()
    assert lines[0].split() == ["SERVICE", "ENDPOINT", "IN-USE", "WHY", "NODE"]
    assert any(line.split() == ["web:http/TCP", "10.10.2.9:8080", "no", "not", "ready", "node-2"] for line in lines)
    assert any(line.split() == ["web:http/TCP", "[fd00:10:1::6]:8080", "yes", "ready", "node-1"] for line in lines)


@pytest.mark.parametrize("resource", ["services", "svc", "endpoints", "flows", "groups", "nodes", "pods", "po"])
def test_every_resource_is_there_in_every_format(api: RunningApi, resource: str) -> None:
    assert len(run(get.app, resource).stdout.splitlines()) > 1
    assert len(run(get.app, resource, "-o", "wide").stdout.splitlines()) > 1
    as_json = json.loads(run(get.app, resource, "-o", "json").stdout)
    assert as_json["items"]
    assert yaml.safe_load(run(get.app, resource, "-o", "yaml").stdout) == as_json


def test_one_item_by_name_is_itself(api: RunningApi) -> None:
    assert json.loads(run(get.app, "node", "node-2", "-o", "json").stdout)["via"] == "tunnel"
    assert yaml.safe_load(run(get.app, "pod", "client", "-o", "yaml").stdout)["port"] == 21


def test_all_namespaces_adds_the_column(api: RunningApi) -> None:
    assert run(get.app, "pods", "-A").stdout.splitlines()[1].split()[:2] == ["default", "client"]
    assert "NAMESPACE" not in run(get.app, "pods").stdout


def test_an_empty_namespace_says_so_and_is_no_error(api: RunningApi) -> None:
    result = run(get.app, "services", "-n", "shop")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No services found in shop namespace.\n"


def test_a_name_that_is_not_there_is_an_error(api: RunningApi) -> None:
    result = run(get.app, "services", "nix")
    assert result.exit_code == 1
    assert result.stderr == "error: no service 'nix' in the namespace 'default' is known to this Node's agent\n"


@pytest.mark.parametrize(
    "words",
    [
        ("things",),
        ("services", "web", "-A"),
        ("services", "-o", "xml"),
        ("pods", "--socket", "/x", "--node", "n"),
        ("pods", "--lab", "x"),
    ],
)
def test_wrong_usage_is_exit_code_2(api: RunningApi, words: tuple[str, ...]) -> None:
    assert run(get.app, *words).exit_code == 2


def test_without_an_agent_the_message_names_the_socket_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "lab_nodes", lambda _places: [])
    result = run(get.app, "services", "--socket", str(tmp_path / "api.sock"))
    assert result.exit_code == 1
    assert f"no agent answers at {tmp_path}/api.sock: is `antrea-proxy agent` running" in result.stderr
    assert "ANTREA_PROXY_SOCKET" in result.stderr


def test_a_lab_on_this_machine_is_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "lab_nodes", lambda _places: ["node-1", "node-2"])
    result = run(get.app, "services", "--socket", str(tmp_path / "api.sock"))
    assert "a lab is up here: --node node-1 asks its agent" in result.stderr


def test_a_node_of_a_lab_is_asked_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(state_root=tmp_path)
    monkeypatch.setattr(agents, "Places", lambda name="lab": Places(name=name, state_root=tmp_path))
    with running_api(places.node("node-1").cni_socket.parent, WORLD.status()):
        assert "web-0" in run(get.app, "pods", "--node", "node-1").stdout
        missing = run(get.app, "pods", "--node", "node-7")
        assert missing.exit_code == 1
        assert "the lab 'lab' has no Node 'node-7': it has node-1" in missing.stderr


def test_a_watch_goes_on_with_changes_alone(api: RunningApi) -> None:
    command = [sys.executable, "-c", "from antrea_proxy.cli.get import app; app()", "services", "-w"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split()[0] for _ in range(8)]
        assert lines == ["NAME", "broken", "empty", "headless", "local", "self", "single", "web"]
        api.publish(world([item for item in SERVICES if item["metadata"]["name"] != "single"], SLICES).status())
        told = watching.stdout.readline().split()
        watching.terminate()
    assert told == ["single", "deleted"]


def test_trace_tells_the_way_stage_by_stage(api: RunningApi) -> None:
    result = run(trace.app, "client", "web:http")
    assert result.exit_code == 0
    titles = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert titles == ["Pod", "Service", "Choice", "Endpoint", "NAT", "Output", "Reply", "The"]
    assert " 33.3%  10.10.1.6:8080          web-0 on node-1   (followed here)" in result.stdout


def test_trace_warns_plainly_where_the_switch_does_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def other(_packet: Packet) -> str:
        await asyncio.sleep(0)
        return " 0. priority 0, cookie 0x1\n    drop\n"

    with running_api(tmp_path, WORLD.status(), trace_in_switch=other) as running:
        monkeypatch.setenv("ANTREA_PROXY_SOCKET", str(running.socket_path))
        text = run(trace.app, "client", "10.96.0.11:80").stdout
    assert "WARNING: the compiled tables take the flow of pod default/client" in text
    assert "the switch takes one of priority 0, cookie 0x0000000000000001 in Classifier" in text


def test_trace_table_by_table_and_as_json(api: RunningApi) -> None:
    wide = run(trace.app, "client", "10.96.0.11:80", "-o", "wide").stdout
    assert "30 ServiceLB       priority 200" in wide
    assert "(service default/single)" in wide
    found = json.loads(run(trace.app, "client", "[fd00:96::10]:53/udp", "-o", "json").stdout)
    assert found["verdict"] in {"local", "tunnel"}
    assert found["service"] == "default/web:dns"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nobody", "web:80"), 1, "Pod default/nobody is not wired to node-1's switch"),
        (("client", "nix:80"), 1, "Service default/nix is not balanced here"),
        (("client", "web"), 2, "write ADDRESS:PORT"),
        (("client", "fd00::1:80"), 2, "write ADDRESS:PORT"),
    ],
)
def test_a_trace_that_cannot_be_says_why(api: RunningApi, words: tuple[str, ...], code: int, message: str) -> None:
    result = run(trace.app, *words)
    assert result.exit_code == code
    assert message in result.stderr.replace("\n", " ").replace("│ ", "")


def test_in_a_lab_the_pods_own_node_is_found(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path = tmp_path_factory.mktemp("l")  # a short one: the paths of sockets are limited
    places = Places(state_root=tmp_path)
    monkeypatch.setattr(agents, "Places", lambda name="lab": Places(name=name, state_root=tmp_path))
    monkeypatch.setattr(agents, "DEFAULT_SOCKET", tmp_path / "none")
    monkeypatch.delenv("ANTREA_PROXY_SOCKET", raising=False)
    elsewhere = world(net=network(pods=()))
    with (
        running_api(places.node("node-1").cni_socket.parent, elsewhere.status()),
        running_api(places.node("node-2").cni_socket.parent, WORLD.status()),
    ):
        assert "opens TCP to 10.96.0.11:80" in run(trace.app, "client", "single:80").stdout
        assert "opens TCP to 10.96.0.11:80" in run(trace.app, "client", "single:80", "--lab", "lab").stdout
        missing = run(trace.app, "client", "single:80", "--lab", "other")
        assert (missing.exit_code, "it is not up" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.96.0.10:80", Target("10.96.0.10", "", "80", "")),
        ("10.96.0.10:53/udp", Target("10.96.0.10", "", "53", "UDP")),
        ("[fd00::a]:80/TCP", Target("fd00::a", "", "80", "TCP")),
        ("web:http", Target("web", "", "http", "")),
        ("web.shop:80/SCTP", Target("web", "shop", "80", "SCTP")),
        ("web.shop.svc.cluster.local:80", Target("web", "shop", "80", "")),
    ],
)
def test_a_target_may_be_an_address_or_a_service(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", "web", "web:", ":80", "fd00::a:80", "[fd00::a]", "web:80/"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write ADDRESS:PORT"):
        parse_target(text)


def test_a_good_file_is_ok_and_names_what_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "antrea-agent.conf"
    file.write_text("trafficEncapMode: noEncap\nwireGuard: {port: 1}\nfeatureGates: {Egress: false}\n")
    result = run(config.app, "check", str(file))
    assert result.exit_code == 0
    assert result.stdout == f"{file}: not used here: wireGuard.port, featureGates.Egress\n{file}: ok\n"


def test_all_that_is_wrong_with_a_file_is_told_at_once() -> None:
    result = CliRunner().invoke(config.app, ["check", "-"], input="apiPort: no\novsBrige: x\ntunnelType: ipip\n")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert [line.split(" (line ")[1][0] for line in lines[:3]] == ["1", "2", "3"]
    assert "did you mean ovsBridge?" in lines[1]
    assert lines[3] == "stdin: 3 problems: an agent does not start with it"


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("dsr", "the feature gate LoadBalancerModeDSR is off; add `LoadBalancerModeDSR: true` to featureGates"),
        ("direct", "it is none of the values that this key can have; write one of: nat, dsr"),
    ],
)
def test_a_load_balancer_mode_that_cannot_be_is_told_before_an_agent_starts(mode: str, said: str) -> None:
    conf = f"antreaProxy:\n  defaultLoadBalancerMode: {mode}\n"
    result = CliRunner().invoke(config.app, ["check", "-"], input=conf)
    assert result.exit_code == 1
    assert f"antreaProxy.defaultLoadBalancerMode: {mode} (line 2): {said}" in result.stderr


def test_a_pipe_that_brings_nothing_is_no_file_that_is_ok() -> None:
    """`kubectl get configmap … | antrea-proxy config check -`, and kubectl found no cluster."""
    result = CliRunner().invoke(config.app, ["check", "-"], input="\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: stdin: nothing came in; see what the command before it says\n"


def test_the_config_map_form_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "antrea.yml"
    conf = {"antrea-agent.conf": "trafficEncapMode: encap\n"}
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "data": conf}))
    assert run(config.app, "check", str(file)).stdout == f"{file}: ok\n"


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    result = run(config.app, "check", str(tmp_path / "none"))
    assert (result.exit_code, result.stderr) == (1, f"error: {tmp_path / 'none'}: No such file or directory\n")


def test_a_running_agents_settings_can_be_checked_again(tmp_path: Path) -> None:
    settings = Settings(api_port=free_port(), ovs_bridge="br-9", not_used=("wireGuard.port",))
    with running_api(tmp_path, WORLD.status(), settings=settings) as running:
        shown = run(config.app, "show", "--socket", str(running.socket_path)).stdout
        as_json = run(config.app, "show", "-o", "json", "--socket", str(running.socket_path)).stdout
    assert yaml.safe_load(shown)["ovsBridge"] == "br-9"
    assert json.loads(as_json) == yaml.safe_load(shown)
    assert "# not used: wireGuard.port" in shown


@pytest.mark.parametrize("app", [get.app, trace.app, config.app])
def test_help_has_examples(app: Typer) -> None:
    text = run(app, "--help").stdout if app is not config.app else run(app, "check", "--help").stdout
    assert "Examples:" in text
    assert "antrea-proxy " in text


def test_get_starts_without_numpy_and_without_the_agent() -> None:
    """A command that is typed often must answer at once."""
    code = (
        "import sys; from antrea_proxy.cli.get import app;"
        "print([name for name in ('numpy', 'aiohttp', 'msgspec', 'rich', 'yaml', 'asyncio', 'antrea_proxy.agent')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_an_agent_that_ends_in_mid_watch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "lab_nodes", lambda _places: [])
    results: list[Result] = []
    with running_api(tmp_path, WORLD.status()) as running:
        words = ["pods", "-w", "--socket", str(running.socket_path)]
        thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(get.app, words)))
        thread.start()
        threading.Event().wait(0.4)
    thread.join(timeout=10)
    assert results[0].exit_code == 1
    assert "ended" in results[0].stderr
