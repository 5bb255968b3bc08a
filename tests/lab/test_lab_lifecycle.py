"""`antrea-proxy lab up` and `down` as a user meets them: quick, clear when they fail, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from antrea_proxy.lab import leftovers, namespaces
from antrea_proxy.lab.places import NETNS_ROOT, Places
from lab_cluster import PATIENCE, PROGRAM, running_cluster, wait_until

SMALL = ("--nodes", "1")
NOBODY = 65534
FAULT = """
from antrea_proxy.lab.control_plane import nodes

def register(*arguments):
    raise RuntimeError("injected")

nodes.register = register
"""
"""What a Python interpreter does at its start, in the place of a fault that nobody knows yet."""


@pytest.fixture
def places() -> Iterator[Places]:
    """A lab's name that nobody else has; what a failing test leaves of it is removed."""
    made = Places(name=f"test{os.getpid()}x0")
    yield made
    leftovers.remove(made)


def start_lab_up(name: str) -> subprocess.Popen[str]:
    """Start `lab up` as a terminal would: a background job of a script would be deaf to Ctrl-C."""
    return subprocess.Popen(
        [PROGRAM, "lab", "up", "--name", name, *SMALL],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )


def read_up_to(step: str, progress: IO[str]) -> None:
    """Read what `lab up` tells until it begins this step."""
    for line in progress:
        if line.startswith(f"- {step}"):
            return


def _lab(places: Places, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PATH": path} if path is not None else {})
    words = [PROGRAM, "lab", *arguments, "--name", places.name]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=60 * PATIENCE, env=environment)


def _processes_naming(places: Places) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"/{places.name}/" in words or f"daemon {places.name} " in words:
                found.append(words)
    return found


def _nothing_is_left(places: Places) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text()
    return not (
        places.netns_present()
        or places.directory.exists()
        or _processes_naming(places)
        or places.netns_prefix in mounts
        or namespaces.processes_in([NETNS_ROOT / name for name in places.netns_present()])
    )


def _root_namespace() -> tuple[str, ...]:
    commands = (["ip", "-br", "link"], ["ip", "route"], ["ip", "rule"], ["nft", "list", "ruleset"], ["sysctl", "net"])
    outputs = [subprocess.run(words, check=False, capture_output=True, text=True).stdout for words in commands]
    moving = ("nf_conntrack_count", "random", "ipfrag", "tcp_mem", "udp_mem", "neigh.", "conf.ifb", "nr_hugepages")
    outputs[-1] = "\n".join(line for line in outputs[-1].splitlines() if not any(word in line for word in moving))
    return tuple(outputs)


def test_a_lab_comes_up_in_seconds_is_left_alone_by_a_second_up_and_goes_without_a_trace(places: Places) -> None:
    before = _root_namespace()
    began = time.monotonic()
    up = _lab(places, "up", *SMALL)
    assert up.returncode == 0, up.stderr
    assert time.monotonic() - began < 10 * PATIENCE
    daemon = leftovers.recorded_processes(places)["daemon"]
    assert _root_namespace() == before

    again = _lab(places, "up")
    assert (again.returncode, "was up already" in again.stdout) == (0, True)
    other = _lab(places, "up", "--nodes", "2")
    assert other.returncode == 1
    assert "is up with other options: --nodes is 1, not 2" in other.stderr
    assert leftovers.recorded_processes(places)["daemon"] == daemon

    down = _lab(places, "down")
    assert (down.returncode, down.stdout) == (0, f"The lab '{places.name}' is gone.\n")
    assert _nothing_is_left(places)
    assert _root_namespace() == before
    assert _lab(places, "down").stdout == f"There is no lab '{places.name}'.\n"


@pytest.mark.parametrize("after", ["underlay", "switches", "agents"])
def test_ctrl_c_in_the_middle_of_up_leaves_nothing(places: Places, after: str) -> None:
    up = start_lab_up(places.name)
    assert up.stderr is not None
    with up, up.stderr:
        read_up_to(after, up.stderr)
        up.send_signal(signal.SIGINT)
        rest = up.stderr.read()
    assert up.returncode == 130
    assert "interrupted: removing what was made" in rest
    assert "Traceback" not in rest
    assert _nothing_is_left(places)


def test_a_lab_that_is_taken_down_in_the_middle_of_up_says_so_and_leaves_nothing(places: Places) -> None:
    up = start_lab_up(places.name)
    assert up.stderr is not None
    with up, up.stderr:
        read_up_to("switches", up.stderr)
        assert _lab(places, "down").returncode == 0
        rest = up.stderr.read()
    assert up.returncode == 1
    assert f"error: the lab '{places.name}' was taken down while it was made" in rest
    assert _nothing_is_left(places)


def test_up_that_is_killed_in_the_middle_takes_its_half_made_lab_along(places: Places) -> None:
    up = start_lab_up(places.name)
    assert up.stderr is not None
    with up, up.stderr:
        read_up_to("switches", up.stderr)
        up.kill()
    wait_until(lambda: not _processes_naming(places), "end of the daemon", seconds=20)
    wait_until(lambda: _nothing_is_left(places), "nothing left", seconds=20)


def test_a_lab_whose_daemon_was_killed_is_named_as_dead_and_removed_by_down(places: Places) -> None:
    assert _lab(places, "up", *SMALL).returncode == 0
    os.kill(leftovers.recorded_processes(places)["daemon"], signal.SIGKILL)
    wait_until(lambda: "daemon" not in leftovers.recorded_processes(places), "end of the daemon")
    up = _lab(places, "up")
    assert up.returncode == 1
    assert f"`antrea-proxy lab down --name {places.name}` removes what is left" in up.stderr
    assert _lab(places, "status").returncode == 1
    assert _lab(places, "down").returncode == 0
    assert _nothing_is_left(places)


def test_labs_exist_side_by_side() -> None:
    with running_cluster(*SMALL) as one, running_cluster(*SMALL, "--ip-family", "ipv6") as other:
        assert one.get("nodes")["items"][0]["spec"]["podCIDRs"] == ["10.10.1.0/24", "fd00:10:1::/64"]
        assert other.get("nodes")["items"][0]["spec"]["podCIDRs"] == ["fd00:10:1::/64"]
        one.run_pod("default", "here")
        assert other.get("pods")["items"] == []
        other.lab("down")
        assert one.pod("default", "here").get("127.0.0.1", 8080) == "here"


def test_up_without_root_says_so(places: Places) -> None:
    # Nobody, but for the right to read this checkout wherever it lies.
    rights = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *rights]
    done = subprocess.run(
        [*nobody, PROGRAM, "lab", "up", "--name", places.name], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr == ("error: a lab is made of network namespaces, which needs root: run it with sudo\n")


def test_up_without_open_vswitch_names_the_packages(places: Places, tmp_path: Path) -> None:
    for program in ("ip", "nft"):
        (tmp_path / program).symlink_to("/bin/true")
    done = _lab(places, "up", path=str(tmp_path))
    assert done.returncode == 1
    assert "Open vSwitch is missing (ovsdb-server, ovs-vswitchd, ovsdb-tool, ovs-vsctl, ovs-appctl)" in done.stderr
    assert "apt-get install openvswitch-common openvswitch-switch" in done.stderr
    assert _nothing_is_left(places)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--subnets", "4", "a lab of 3 Nodes has 1 to 3 subnets"),
        ("--nodes", "0", "a lab has 1 to 99 Nodes"),
        ("--zones", "9", "has 1 to 3 zones"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(places: Places, option: str, value: str, words: str) -> None:
    done = _lab(places, "up", option, value)
    assert done.returncode == 1
    assert words in done.stderr
    assert _nothing_is_left(places)


def test_an_agent_configuration_that_the_agent_refuses_fails_up_with_the_agents_words(
    places: Places, tmp_path: Path
) -> None:
    config = tmp_path / "antrea-agent.conf"
    config.write_text("antreaProxy:\n  proxyAl: true\n")
    done = _lab(places, "up", *SMALL, "--config", str(config))
    assert done.returncode == 1
    assert "the agent of node-1 ended with status" in done.stderr
    assert "antreaProxy.proxyAl" in done.stderr
    assert _nothing_is_left(places)


def test_a_fault_of_the_labs_own_is_told_whole_and_leaves_nothing(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAULT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = _lab(places, "up", *SMALL)
    assert done.returncode == 1
    assert "error: the lab's daemon failed" in done.stderr
    assert "RuntimeError: injected" in done.stderr
    assert _nothing_is_left(places)


def test_a_changed_config_map_is_what_a_restarted_agent_reads(places: Places) -> None:
    with running_cluster(*SMALL) as cluster:
        patch = json.dumps({"data": {"antrea-agent.conf": "apiPort: 10777\ntunnelType: vxlan\n"}})
        cluster.kubectl("patch", "-n", "kube-system", "configmap", "antrea-config", "-p", patch)
        done = cluster.lab("restart", "agent", "node-1")
        assert "note: the lab overrides antrea-agent.conf: tunnelType: 'vxlan' -> 'geneve'" in done.stderr
        assert "apiPort: 10777" in cluster.places.node("node-1").agent_config.read_text()
        assert cluster.status()["healthy"]


def test_a_killed_agent_and_a_killed_switch_come_back(places: Places) -> None:
    with running_cluster(*SMALL) as cluster:
        cluster.run_pod("default", "one")
        cluster.lab("restart", "switch", "node-1", "--kill")
        cluster.lab("restart", "agent", "node-1", "--kill")
        node = cluster.status()["nodes"][0]
        for program in ("agent", "switch"):
            os.kill(node[program]["pid"], signal.SIGKILL)

        def recovered() -> bool:
            now = cluster.status()
            state = now["nodes"][0]
            return bool(now["healthy"]) and all(state[p]["crashes"] == 1 for p in ("agent", "switch"))

        wait_until(recovered, "agent and switch run again", seconds=20 * PATIENCE)
        wait_until(
            lambda: cluster.node("node-1").command("ping", "-c1", "-W1", "10.10.1.2", check=False).returncode == 0,
            "the Pod is reached again",
            seconds=20 * PATIENCE,
        )


def test_a_client_reaches_load_balancer_addresses_by_the_nodes_that_route_names(places: Places) -> None:
    with running_cluster("--nodes", "2") as cluster:
        assert cluster.lab("route", "client-1", "--via", "node-2").returncode == 0
        routes = cluster.client().command("ip", "route", "show", "172.30.0.0/24").stdout
        assert routes.split()[:3] == ["172.30.0.0/24", "via", "172.18.0.2"]
        cluster.lab("route", "client-1", "--via", "node-1,node-2")
        routes = cluster.client().command("ip", "-6", "route", "show", "fd00:30::/64").stdout
        assert routes.count("nexthop via") == 2
        absent = cluster.lab("route", "client-9", "--via", "node-1", check=False)
        assert "there is no client 'client-9'; there are client-1" in absent.stderr
