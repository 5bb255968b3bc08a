"""The plugin as a container runtime starts it: environment, standard input, standard output, exit code."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.server import CniServer, SocketTakenError
from antrea_proxy.network.interfaces import PodInterface
from cni_fakes import CIDR4, CIDR6, Agent, FakeNode, start_agent

PLUGIN = Path(sys.executable).with_name("antrea-proxy-cni")
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a runtime sees of a plugin."""

    exit_code: int
    output: Any
    stderr: str


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's own coroutine."""
    asyncio.run(work)


def environment(command: str, *, container: str = "c1", **changes: str) -> dict[str, str]:
    """Return the variables of the specification for a command on a container."""
    variables = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": f"/run/netns/{container}",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-6f;K8S_POD_UID={container}",
        "CNI_PATH": "/opt/cni/bin",
    }
    return variables | changes


def configuration(socket_path: Path, *, version: str = "1.1.0", **changes: object) -> str:
    """Return a network configuration as a runtime hands it to the plugin."""
    return json.dumps(
        {"cniVersion": version, "name": "antrea", "type": "antrea-proxy-cni", "cniSocket": str(socket_path)} | changes
    )


async def call(variables: Mapping[str, str], stdin: str | bytes) -> Outcome:
    """Start the real executable."""
    process = await asyncio.create_subprocess_exec(
        PLUGIN,
        env={"PATH": os.environ["PATH"], **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate(stdin.encode() if isinstance(stdin, str) else stdin)
    assert process.returncode is not None
    return Outcome(exit_code=process.returncode, output=json.loads(output) if output else None, stderr=errors.decode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the agent's socket is."""
    return tmp_path / "antrea" / "cni.sock"


def leave_dead_socket(path: Path) -> None:
    """Leave what an agent leaves that was killed."""
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))


async def flood(writer: asyncio.StreamWriter) -> None:
    """Send until the other side has had enough."""
    while True:
        writer.write(b"x" * (1 << 20))
        await writer.drain()


def exists(path: Path) -> bool:
    """Whether there is such a file."""
    return path.exists()


async def agent_on(path: Path, node: FakeNode) -> tuple[Agent, CniServer]:
    """Start an agent whose Pods' namespaces exist already."""
    node.namespaces |= {f"/run/netns/c{number}" for number in range(10)}
    agent = await start_agent(node, (CIDR4, CIDR6))
    return agent, CniServer(path, agent.wiring)


@pytest.mark.parametrize("version", VERSIONS)
def test_add_answers_in_the_version_that_the_configuration_names(path: Path, version: str) -> None:
    """`ips[].version` exists before 1.0.0, `mtu` from 1.1.0 on."""

    async def scenario() -> None:
        node = FakeNode()
        _, server = await agent_on(path, node)
        async with server:
            outcome = await call(environment("ADD"), configuration(path, version=version))
        (host_interface,) = node.pairs
        mtu = {"mtu": 1450} if version == "1.1.0" else {}
        family4, family6 = ({"version": "4"}, {"version": "6"}) if version < "1.0.0" else ({}, {})
        assert outcome == Outcome(
            exit_code=0,
            output={
                "cniVersion": version,
                "interfaces": [
                    {"name": host_interface, **mtu},
                    {"name": "eth0", "mac": "0a:58:0a:0a:01:02", "sandbox": "/run/netns/c1", **mtu},
                ],
                "ips": [
                    {"address": "10.10.1.2/24", "gateway": "10.10.1.1", "interface": 1, **family4},
                    {"address": "fd00:10:1::2/64", "gateway": "fd00:10:1::1", "interface": 1, **family6},
                ],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.10.1.1"}, {"dst": "::/0", "gw": "fd00:10:1::1"}],
                "dns": {},
            },
            stderr="",
        )

    run(scenario())


def test_a_container_lives_from_add_over_check_to_del_and_its_repetition(path: Path) -> None:
    """CHECK and DEL get the ADD's own result back and print nothing."""

    async def scenario() -> None:
        node = FakeNode()
        _, server = await agent_on(path, node)
        async with server:
            added = await call(environment("ADD"), configuration(path))
            later = configuration(path, prevResult=added.output)
            assert await call(environment("CHECK"), later) == Outcome(exit_code=0, output=None, stderr="")
            node.change_inner("/run/netns/c1", "eth0", up=False)
            checked = await call(environment("CHECK"), later)
            assert checked.exit_code == 1
            assert checked.output == {
                "cniVersion": "1.1.0",
                "code": 104,
                "msg": "Pod default/web-6f is not as it was wired: eth0 is down",
            }
            for _ in range(2):
                assert await call(environment("DEL"), later) == Outcome(exit_code=0, output=None, stderr="")
        assert node.is_clean()

    run(scenario())


def test_del_needs_no_namespace_no_arguments_and_no_prevresult(path: Path) -> None:
    """All that a runtime still has after a crash is the container and the interface's name."""

    async def scenario() -> None:
        node = FakeNode()
        _, server = await agent_on(path, node)
        async with server:
            await call(environment("ADD"), configuration(path))
            bare = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_ARGS": "garbage"}
            assert (await call(bare, configuration(path))).exit_code == 0
        assert node.is_clean()

    run(scenario())


def test_gc_keeps_the_attachments_that_the_runtime_names(path: Path) -> None:
    """And removes the rest; without a list it removes nothing, and null is how libcni writes an empty one."""

    async def scenario() -> None:
        node = FakeNode()
        agent, server = await agent_on(path, node)
        async with server:
            for container in ("c1", "c2", "c3"):
                await call(environment("ADD", container=container), configuration(path))
            variables = {"CNI_COMMAND": "GC", "CNI_PATH": "/opt/cni/bin"}
            refused = await call(variables, configuration(path))
            assert refused.output["code"] == ErrorCode.INVALID_CONFIGURATION
            assert len(agent.wiring.pods) == 3
            none: dict[str, Any] = {"cni.dev/valid-attachments": None}
            valid: dict[str, Any] = {"cni.dev/valid-attachments": [{"containerID": "c2", "ifname": "eth0"}]}
            assert await call(variables, configuration(path, **valid)) == Outcome(exit_code=0, output=None, stderr="")
            assert [pod.container_id for pod in agent.wiring.pods] == ["c2"]
            assert (await call(variables, configuration(path, **none))).exit_code == 0
        assert [pod.container_id for pod in agent.wiring.pods] == []

    run(scenario())


def test_status_tells_whether_pods_can_be_added(path: Path) -> None:
    """Code 50 with the agent's reason."""

    async def scenario() -> None:
        agent, server = await agent_on(path, FakeNode())
        async with server:
            variables = {"CNI_COMMAND": "STATUS", "CNI_PATH": "/opt/cni/bin"}
            assert (await call(variables, configuration(path))).exit_code == 0
            agent.reason = "the switch is not connected"
            outcome = await call(variables, configuration(path))
        assert outcome.exit_code == 1
        assert outcome.output == {"cniVersion": "1.1.0", "code": 50, "msg": "the switch is not connected"}

    run(scenario())


def test_version_is_answered_without_an_agent(path: Path) -> None:
    """In the version that was asked for, or the newest."""

    async def scenario() -> None:
        for stdin, version in (('{"cniVersion":"1.0.0"}', "1.0.0"), ('{"cniVersion":"9.9.9"}', "1.1.0"), ("", "1.1.0")):
            outcome = await call({"CNI_COMMAND": "VERSION"}, stdin)
            assert outcome.exit_code == 0
            assert outcome.output == {"cniVersion": version, "supportedVersions": list(VERSIONS)}

    run(scenario())


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("DEL", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)])
def test_an_agent_that_is_not_there_is_said_to_be_missing(path: Path, command: str, code: int) -> None:
    """The runtime tries again; the message names the socket."""

    async def scenario() -> None:
        outcome = await call(environment(command), configuration(path))
        assert outcome.exit_code == 1
        assert outcome.output["code"] == code
        assert f"cannot be reached at {path}: No such file or directory; is it running here?" in outcome.output["msg"]

    run(scenario())


def test_a_socket_that_a_dead_agent_left_is_said_to_be_unserved_and_replaced_by_the_next(path: Path) -> None:
    """After a SIGKILL the file is still there."""

    async def scenario() -> None:
        leave_dead_socket(path)
        outcome = await call(environment("ADD"), configuration(path))
        assert outcome.output["code"] == 11
        assert "Connection refused" in outcome.output["msg"]
        _, server = await agent_on(path, FakeNode())
        async with server:
            assert (await call(environment("ADD"), configuration(path))).exit_code == 0
        assert not exists(path)

    run(scenario())


def test_an_agent_that_breaks_off_is_said_to_have_done_so(path: Path) -> None:
    """It was killed during the ADD: the runtime tries again."""

    async def scenario() -> None:
        async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_unix_server(break_off, path)
        outcome = await call(environment("ADD"), configuration(path))
        server.close()
        await server.wait_closed()
        assert outcome.output["code"] == 11
        assert "ADD" in outcome.output["msg"] or "reached" in outcome.output["msg"]

    path.parent.mkdir()
    run(scenario())


@pytest.mark.parametrize(
    ("variables", "changes", "code", "text"),
    [
        ({"CNI_CONTAINERID": ""}, {}, 4, "CNI_CONTAINERID is ''"),
        ({"CNI_CONTAINERID": "../etc"}, {}, 4, "CNI_CONTAINERID is '../etc'"),
        ({"CNI_IFNAME": "a-name-too-long-"}, {}, 4, "CNI_IFNAME is 'a-name-too-long-'"),
        ({"CNI_IFNAME": ".."}, {}, 4, "CNI_IFNAME is '..'"),
        ({"CNI_IFNAME": "eth 0"}, {}, 4, "CNI_IFNAME is 'eth 0'"),
        ({"CNI_IFNAME": "eth/0"}, {}, 4, "CNI_IFNAME is 'eth/0'"),
        ({"CNI_IFNAME": "eth:0"}, {}, 4, "CNI_IFNAME is 'eth:0'"),
        ({"CNI_NETNS": ""}, {}, 4, "CNI_NETNS is not set"),
        ({"CNI_ARGS": "K8S_POD_NAME"}, {}, 4, "CNI_ARGS has 'K8S_POD_NAME'"),
        ({"CNI_ARGS": "K8S_POD_NAMESPACE=default"}, {}, 4, "K8S_POD_NAME in CNI_ARGS is ''"),
        ({"CNI_COMMAND": "MEND"}, {}, 4, "CNI_COMMAND is 'MEND', not one of ADD, DEL, CHECK, GC, STATUS, VERSION"),
        ({"CNI_NETNS": "/run/netns/gone"}, {}, 103, "network namespace /run/netns/gone: No such file"),
        ({}, {"cniVersion": "0.2.0"}, 1, "cniVersion 0.2.0 is not supported: use one of 0.3.0"),
        ({"CNI_COMMAND": "CHECK"}, {"cniVersion": "0.3.1"}, 1, "CHECK exists from cniVersion 0.4.0 on"),
        ({"CNI_COMMAND": "GC"}, {"cniVersion": "1.0.0"}, 1, "GC exists from cniVersion 1.1.0 on"),
        ({"CNI_COMMAND": "CHECK"}, {}, 7, "CHECK needs prevResult"),
        ({}, {"ipam": {"type": "whereabouts"}}, 2, "ipam.type 'whereabouts'"),
        ({}, {"name": "-"}, 7, "name of the network configuration is '-'"),
        ({}, {"name": 5}, 7, "Expected `str`, got `int` - at `$.name`"),
        ({}, {"cniSocket": 5}, 7, "cniSocket of the network configuration is 5"),
        ({}, {"prevResult": {"ips": [{}]}}, 7, "missing required field `address` - at `$.prevResult.ips[0]`"),
    ],
    ids=lambda value: "-" if isinstance(value, int) else str(value)[:40],
)
def test_a_bad_request_is_told_what_is_wrong_with_it(
    path: Path, variables: dict[str, str], changes: dict[str, Any], code: int, text: str
) -> None:
    """The specification's code, the field, its value, and nothing done."""

    async def scenario() -> None:
        node = FakeNode()
        _, server = await agent_on(path, node)
        async with server:
            outcome = await call(environment("ADD", **variables), configuration(path, **changes))
        assert outcome.exit_code == 1
        assert outcome.output["code"] == code
        assert text in outcome.output["msg"]
        assert node.is_clean()

    run(scenario())


@pytest.mark.parametrize(
    ("stdin", "text"),
    [("{", "is not JSON"), ("[]", "not a JSON object"), (b"\xff\xfe", "not UTF-8"), ("[" * 100000, "is not JSON")],
    ids=["torn", "list", "bytes", "deep"],
)
def test_a_network_configuration_that_cannot_be_read_is_a_decoding_failure(stdin: str | bytes, text: str) -> None:
    """Code 6, without any agent."""

    async def scenario() -> None:
        outcome = await call(environment("ADD"), stdin)
        assert outcome.exit_code == 1
        assert outcome.output["code"] == 6
        assert text in outcome.output["msg"]

    run(scenario())


def test_a_plugin_that_a_person_starts_says_what_it_is() -> None:
    """Without CNI_COMMAND there is nothing to do."""

    async def scenario() -> None:
        outcome = await call({}, "")
        assert outcome.exit_code == 1
        assert outcome.output["code"] == 4
        assert "a container runtime starts it" in outcome.stderr

    run(scenario())


def test_a_plugin_late_in_a_chain_adds_to_the_result_before_it(path: Path) -> None:
    """Interfaces, addresses and routes of others stay, and indices count on."""

    async def scenario() -> None:
        _, server = await agent_on(path, FakeNode())
        before = {
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "lo", "sandbox": "/run/netns/c1"}],
            "ips": [{"address": "127.0.0.1/8", "interface": 0}],
            "dns": {"nameservers": ["10.96.0.10"]},
        }
        async with server:
            outcome = await call(environment("ADD"), configuration(path, prevResult=before))
        assert outcome.output["interfaces"][0] == before["interfaces"][0]  # type: ignore[index]
        assert [ip["interface"] for ip in outcome.output["ips"]] == [0, 2, 2]
        assert outcome.output["dns"] == before["dns"]

    run(scenario())


def test_only_the_agents_own_user_may_open_its_socket(path: Path) -> None:
    """Whoever can write to it can take a Pod off the network."""

    async def scenario() -> None:
        _, server = await agent_on(path, FakeNode())
        async with server:
            assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600

    run(scenario())


def test_a_second_agent_on_a_live_socket_is_refused_and_the_first_goes_on(path: Path) -> None:
    """Two agents would give one address twice."""

    async def scenario() -> None:
        node = FakeNode()
        agent, server = await agent_on(path, node)
        async with server:
            with pytest.raises(SocketTakenError, match="is served by another agent"):
                await CniServer(path, agent.wiring).start()
            assert (await call(environment("ADD"), configuration(path))).exit_code == 0

    run(scenario())


def test_a_file_that_is_no_socket_is_not_removed(path: Path) -> None:
    """It is somebody's."""

    async def scenario() -> None:
        agent = await start_agent(FakeNode())
        with pytest.raises(SocketTakenError, match="is not a socket"):
            await CniServer(path, agent.wiring).start()

    path.parent.mkdir()
    path.write_text("precious")
    run(scenario())
    assert path.read_text() == "precious"


def test_an_agent_that_stops_lets_an_add_end_first(path: Path) -> None:
    """The runtime gets its answer."""

    async def scenario() -> None:
        node = FakeNode()
        agent, server = await agent_on(path, node)
        waiting, release = asyncio.Event(), asyncio.Event()

        async def slowly(_: PodInterface) -> None:
            waiting.set()
            await release.wait()

        agent.wiring._wired = slowly
        await server.start()
        adding = asyncio.create_task(call(environment("ADD"), configuration(path)))
        await waiting.wait()
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.05)
        assert not exists(path)
        release.set()
        await closing
        assert (await adding).exit_code == 0

    run(scenario())


def test_requests_that_are_no_requests_harm_nothing(path: Path) -> None:
    """Noise, too much of it, and connections without a word."""

    async def scenario() -> None:
        _, server = await agent_on(path, FakeNode())
        async with server:
            for noise in (b"", b"noise"):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(noise)
                writer.write_eof()
                assert (b'\\"code\\":6' in await reader.read()) is bool(noise)
                writer.close()
            _, writer = await asyncio.open_unix_connection(path)
            with pytest.raises(ConnectionError):
                await flood(writer)
            assert (await call(environment("ADD"), configuration(path))).exit_code == 0

    run(scenario())


def test_thirty_pods_that_start_at_once_are_all_wired(path: Path) -> None:
    """Each with its own address and port number."""

    async def scenario() -> None:
        node = FakeNode(namespaces={f"/run/netns/p{number}" for number in range(30)})
        agent, server = await agent_on(path, node)
        async with server:
            outcomes = await asyncio.gather(
                *(call(environment("ADD", container=f"p{number}"), configuration(path)) for number in range(30))
            )
        assert {outcome.exit_code for outcome in outcomes} == {0}
        assert len({outcome.output["ips"][0]["address"] for outcome in outcomes}) == 30
        assert len(agent.wiring.pods) == 30

    run(scenario())


def test_the_plugin_loads_little_since_it_is_started_for_every_pod() -> None:
    """Some 70 modules in all, json and sockets among them: an empty program has 30. No framework, no event loop."""
    started = subprocess.run(
        [sys.executable, "-X", "importtime", str(PLUGIN)],
        env={"CNI_COMMAND": "VERSION"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in started.stderr.splitlines() if line.startswith("import time")}
    ours = {name for name in loaded if name.startswith("antrea_proxy")}
    assert ours == {"antrea_proxy", "antrea_proxy.cni", "antrea_proxy.cni.codes", "antrea_proxy.cni.plugin"}
    assert not loaded & {"asyncio", "ssl", "logging", "argparse", "http.client", "ipaddress", "inspect", "typing"}
    assert len(loaded) < 90


def test_the_plugin_imports_neither_asyncio_nor_a_library() -> None:
    """What it must not load is what would make it slow."""
    listing = subprocess.run(
        [sys.executable, "-c", "import sys, antrea_proxy.cni.plugin; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"asyncio", "msgspec", "structlog", "dataclasses", "inspect", "typing"} & set(listing)
