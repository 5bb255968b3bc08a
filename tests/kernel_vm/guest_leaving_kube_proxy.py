"""`antrea-proxy cleanup kube-proxy` against the kernel's ipvs, which only the virtual machine has."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube_proxy_rules import DEVICE_ADDRESSES, IPSETS, IPTABLES_MODE, IPVS_SERVERS, OTHER_IPSETS, OTHER_SERVERS, OTHERS
from private_switch import inside, namespace, run

PROGRAM = str(Path(sys.executable).with_name("antrea-proxy"))

pytestmark = pytest.mark.kernel


@pytest.fixture
def node() -> Iterator[None]:
    """A Node's namespace, which the test and all that it starts are in, with what others put there."""
    with namespace("leaving") as path, inside(path):
        run("ip", "link", "add", "dummy0", "type", "dummy")
        feed(OTHERS, "iptables-legacy-restore")
        feed(OTHER_IPSETS, "ipset", "restore")
        feed(OTHER_SERVERS, "ipvsadm", "-R")
        yield


def feed(text: str, *command: str) -> None:
    """Run a program that must succeed, with this as its input."""
    subprocess.run(command, input=text, check=True, text=True, timeout=120)


def dump() -> tuple[str, ...]:
    """What the Node holds, without what changes by itself."""
    legacy = re.sub(r"^#.*\n|\[\d+:\d+\]", "", run("iptables-legacy-save"), flags=re.MULTILINE)
    return legacy, run("ipset", "save"), run("ipvsadm", "-Sn"), run("ip", "-br", "addr")


@pytest.mark.usefixtures("node")
def test_virtual_servers_device_and_sets_of_the_ipvs_mode_go_and_those_of_others_stay() -> None:
    before = dump()
    run("ip", "link", "add", "kube-ipvs0", "type", "dummy")
    for address in DEVICE_ADDRESSES:
        run("ip", "addr", "add", address, "dev", "kube-ipvs0")
    feed(IPVS_SERVERS, "ipvsadm", "-R")
    feed(IPSETS, "ipset", "restore")
    policies = re.compile(r"^:.* ACCEPT .*\n", re.MULTILINE)
    feed(policies.sub("", IPTABLES_MODE["ip"]), "iptables-legacy-restore", "--noflush")
    run("iptables-legacy", "-t", "nat", "-A", "KUBE-SERVICES", "-m", "set", "--match-set", "KUBE-CLUSTER-IP", "dst,dst")
    assert dump() != before

    words = run(PROGRAM, "cleanup", "kube-proxy")

    assert dump() == before
    for told in (
        "removing ipvs: virtual server 10.96.0.10:80/TCP",
        "removing ipvs: virtual server [fd00:10:96::a]:80/TCP",
        "removing ipvs: virtual server 172.30.0.1:30080/TCP",
        "removing ipvs: device kube-ipvs0",
        "removing ipset: set KUBE-CLUSTER-IP",
        "removing iptables-legacy ip nat: chain KUBE-SERVICES",
    ):
        assert told in words
    assert run(PROGRAM, "cleanup", "kube-proxy") == "there is nothing of kube-proxy's on this Node\n"
