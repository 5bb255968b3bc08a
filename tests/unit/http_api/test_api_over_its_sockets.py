"""The API as a client meets it: paths, filters, watches, errors, who may connect."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.agent.status import Phase
from antrea_proxy.cli.api_client import AgentApi, AgentRefusedError
from antrea_proxy.http_api import server
from antrea_proxy.http_api.board import StatusBoard
from antrea_proxy.http_api.routes import ApiSources
from antrea_proxy.http_api.server import ApiServerError, serving
from antrea_proxy.settings import Settings
from api_server import RunningApi, free_port, running_api
from worlds import SERVICES, SLICES, WORLD, world


@pytest.fixture
def api(tmp_path: Path) -> Iterator[RunningApi]:
    """The API of the usual world."""
    with running_api(tmp_path, WORLD.status()) as running:
        yield running


def ask(api: RunningApi, path: str, **parameters: str) -> Any:  # noqa: ANN401 - JSON
    """GET over the Unix socket."""
    return AgentApi(socket_path=api.socket_path).get(path, parameters)


def over_loopback(api: RunningApi, path: str, data: bytes | None = None) -> tuple[int, str]:
    """GET, or POST `data`, over 127.0.0.1."""
    request = urllib.request.Request(f"http://127.0.0.1:{api.port}{path}", data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_socket_is_for_root_alone(api: RunningApi) -> None:
    assert stat.S_IMODE(api.socket_path.stat().st_mode) == 0o600


def test_the_status_tells_the_agent_at_a_glance(api: RunningApi) -> None:
    status = ask(api, "/v1/status")
    assert status["node"] == "node-1"
    assert status["phase"] == "running"
    assert status["services"] == 5
    assert status["servicesLeftAlone"] == 1
    assert status["servicesWithProblems"] == 1
    assert status["switch"]["ovsVersion"] == "3.1.0"


@pytest.mark.parametrize("path", ["services", "endpoints", "flows", "groups", "nodes", "pods"])
def test_every_list_is_there_on_both_sockets(api: RunningApi, path: str) -> None:
    items = ask(api, f"/v1/{path}")["items"]
    assert items
    code, text = over_loopback(api, f"/v1/{path}")
    assert code == 200
    assert json.loads(text)["items"] == items


def test_a_list_can_be_narrowed_by_namespace_and_name(api: RunningApi) -> None:
    (web,) = ask(api, "/v1/services", namespace="default", name="web")["items"]
    assert web["name"] == "web"
    assert not ask(api, "/v1/services", namespace="other")["items"]
    owners = {flow["owner"] for flow in ask(api, "/v1/flows", namespace="default", name="web")["items"]}
    assert owners == {"service default/web"}
    assert {flow["owner"] for flow in ask(api, "/v1/flows", namespace="default", name="client")["items"]} == {
        "pod default/client/55555555/eth0"
    }


def test_a_service_says_why_it_is_left_alone_or_not_served(api: RunningApi) -> None:
    services = {item["name"]: item for item in ask(api, "/v1/services")["items"]}
    assert services["headless"]["state"] == "leftAlone"
    assert services["headless"]["reason"] == "it is headless (clusterIP None)"
    assert services["broken"]["state"] == "notServed"
    assert "70000" in services["broken"]["problems"][0]


def test_every_endpoint_says_why_it_is_in_or_out(api: RunningApi) -> None:
    endpoints = ask(api, "/v1/endpoints", namespace="default", name="web")["items"]
    told = {(item["address"], item["inUse"], item["reason"]) for item in endpoints if item["family"] == 4}
    assert told == {
        ("10.10.1.6", True, "ready"),
        ("10.10.2.7", True, "ready"),
        ("10.10.2.8", True, "ready"),
        ("10.10.2.9", False, "not ready"),
    }


def test_flows_and_groups_read_as_ovs_ofctl_writes_them(api: RunningApi) -> None:
    flows = ask(api, "/v1/flows", namespace="default", name="single")["items"]
    balanced = next(flow for flow in flows if flow["priority"] == 200)
    assert balanced["tableName"] == "ServiceLB"
    assert balanced["match"] == "eth_type=0x800,ipv4_dst=10.96.0.11,ip_proto=6,tcp_dst=80"
    assert balanced["actions"] == (
        "ct(commit,table=48,zone=65520,nat(dst=10.10.2.7:8080),exec(set_field:0x10/0x10->ct_mark))"
    )
    group = ask(api, "/v1/groups", namespace="default", name="web")["items"][0]
    assert group["method"] == "dp_hash"
    assert sum(bucket["share"] for bucket in group["buckets"]) == pytest.approx(1)


def test_the_settings_read_as_the_file_writes_them(api: RunningApi) -> None:
    shown = ask(api, "/v1/config")["settings"]
    assert shown["trafficEncapMode"] == "encap"
    assert shown["antreaProxy"]["proxyAll"] is False
    assert shown["featureGates"]["AntreaProxy"] is True


def test_healthz_fails_with_the_reason_until_the_agent_runs(api: RunningApi) -> None:
    assert over_loopback(api, "/healthz") == (200, "ok\n")
    api.publish(WORLD.status(phase=Phase.RETRYING, problem="the switch is gone"))
    assert over_loopback(api, "/healthz") == (503, "retrying: the switch is gone\n")


def test_a_path_that_does_not_exist_names_those_that_do(api: RunningApi) -> None:
    with pytest.raises(AgentRefusedError, match="/v2: no such path; there are /v1/status"):
        ask(api, "/v2")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"namespaces": "x"}, "namespaces: no such parameter"), ({"watch": "yes"}, "must be 0 or 1")],
)
def test_a_parameter_that_makes_no_sense_is_refused(api: RunningApi, parameters: dict[str, str], words: str) -> None:
    with pytest.raises(AgentRefusedError, match=words):
        ask(api, "/v1/services", **parameters)


def test_loopback_only_reads(api: RunningApi) -> None:
    """Every user of the Node can reach it; a trace makes the switch work."""
    code, text = over_loopback(api, "/v1/trace", b"{}")
    assert code == 403
    assert "only reads" in text


def test_no_port_is_opened_where_api_port_is_0(tmp_path: Path) -> None:
    with running_api(tmp_path, WORLD.status(), settings=Settings(api_port=0)) as running:
        assert ask(running, "/v1/status")["node"] == "node-1"


def test_metrics_are_there_unless_they_are_switched_off(tmp_path: Path, api: RunningApi) -> None:
    assert over_loopback(api, "/metrics")[0] == 200
    settings = Settings(api_port=free_port(), enable_prometheus_metrics=False)
    with running_api(tmp_path / "other", WORLD.status(), settings=settings) as quiet:
        assert over_loopback(quiet, "/metrics")[0] == 404


def test_the_socket_of_an_agent_that_died_is_replaced_and_one_that_lives_is_not(tmp_path: Path) -> None:
    with running_api(tmp_path, WORLD.status()) as first:
        with pytest.raises(ApiServerError, match="another agent answers there"):
            asyncio.run(_serve_once(tmp_path))
        assert first.socket_path.exists()
    assert not first.socket_path.exists(), "an agent that ends removes its socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(first.socket_path))
    with running_api(tmp_path, WORLD.status()) as second:
        assert ask(second, "/v1/status")["node"] == "node-1"


async def _serve_once(run_dir: Path) -> None:
    board = StatusBoard(WORLD.status())
    sources = ApiSources(status=lambda: board.status, changed=board.changed, settings=Settings(api_port=0))
    async with serving(sources, run_dir):
        pass


def test_a_port_that_is_taken_names_the_key_of_the_configuration(tmp_path: Path, api: RunningApi) -> None:
    with pytest.raises(ApiServerError, match=f"127.0.0.1:{api.port}: .*apiPort"):
        asyncio.run(_serve_on(tmp_path / "second", api.port))
    assert not (tmp_path / "second" / "api.sock").exists()


async def _serve_on(run_dir: Path, port: int) -> None:
    board = StatusBoard(WORLD.status())
    sources = ApiSources(status=lambda: board.status, changed=board.changed, settings=Settings(api_port=port))
    async with serving(sources, run_dir):
        pass


class _Watch:
    """Reads a watch in the background."""

    def __init__(self, api: RunningApi, path: str, **parameters: str) -> None:
        self.changes: list[Any] = []
        lines = AgentApi(socket_path=api.socket_path).lines(path, parameters | {"watch": "1"})
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def _read(self, lines: Iterator[Any]) -> None:
        try:
            for change in lines:
                self.changes.append(change)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.changes.append(error)

    def wait_for(self, count: int) -> list[Any]:
        """Wait until so many changes were told."""
        deadline = time.monotonic() + 10
        while len(self.changes) < count:
            assert time.monotonic() < deadline, self.changes
            time.sleep(0.01)
        return self.changes[:count]


def test_a_watch_tells_what_is_there_and_then_every_change(api: RunningApi) -> None:
    watch = _Watch(api, "/v1/services", namespace="default")
    first = watch.wait_for(8)
    assert [change["type"] for change in first] == ["ADDED"] * 7 + ["BOOKMARK"]
    without_single = world([item for item in SERVICES if item["metadata"]["name"] != "single"], SLICES)
    api.publish(without_single.status())
    (deleted,) = watch.wait_for(9)[8:]
    assert deleted == {"type": "DELETED", "object": {"namespace": "default", "name": "single"}}
    api.publish(world(SERVICES, [item for item in SLICES if not item["metadata"]["name"].startswith("self")]).status())
    later = watch.wait_for(11)[9:]
    assert {(change["type"], change["object"]["name"]) for change in later} == {
        ("ADDED", "single"),
        ("MODIFIED", "self"),
    }


def test_a_status_without_a_change_tells_a_watch_nothing(api: RunningApi) -> None:
    watch = _Watch(api, "/v1/pods")
    watch.wait_for(3)
    api.publish(WORLD.status(problem="something else"))
    time.sleep(0.3)
    assert len(watch.changes) == 3


def test_no_watch_keeps_an_agent_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would wait for an answer that is under way."""
    monkeypatch.setattr(server, "SHUTDOWN_SECONDS", 60.0)
    with running_api(tmp_path, WORLD.status()) as running:
        watch = _Watch(running, "/v1/nodes")
        watch.wait_for(3)
    assert isinstance(watch.wait_for(4)[3], Exception)
