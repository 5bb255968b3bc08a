"""What kube-proxy left is told from what others put beside it, in every way in which it keeps its rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.host.kube_proxy import iptables_save, ipvs, nft_listing
from antrea_proxy.host.kube_proxy.chains import Backend, ChainRemoval, chain_removal
from antrea_proxy.host.kube_proxy.plan import Dumps, Plan, planned
from antrea_proxy.host.kube_proxy.processes import Process, is_kube_proxy, running_kube_proxies
from kube_proxy_rules import (
    DEVICE_ADDRESSES,
    IPSETS,
    IPTABLES_MODE,
    IPVS_SERVERS,
    OTHER_IPSETS,
    OTHER_SERVERS,
    OTHERS,
)

FAMILIES = ("ip", "ip6")


def removals(text: str, family: str = "ip") -> dict[str, ChainRemoval]:
    """What is to be removed of a dump, by table."""
    tables = iptables_save.read_dump(text, family=family)
    return {table.name: removal for table in tables if (removal := chain_removal(table)) is not None}


def together(*texts: str) -> str:
    """Two programs' rules in one dump: chains and rules of each table beside each other."""
    parts: dict[str, list[str]] = {}
    for text in texts:
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line
            elif line != "COMMIT" and line not in parts.setdefault(table, []):
                parts[table].append(line)
    return "".join(
        "\n".join([table, *sorted(lines, key=lambda line: not line.startswith(":")), "COMMIT\n"])
        for table, lines in parts.items()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_all_chains_of_kube_proxy_go_with_the_jumps_to_them(family: str) -> None:
    found = removals(IPTABLES_MODE[family], family)
    declared = {
        line.split()[0].removeprefix(":") for line in IPTABLES_MODE[family].splitlines() if line.startswith(":KUBE-")
    }
    assert {chain for removal in found.values() for chain in removal.chains} == declared
    assert [(rule.chain, rule.target) for rule in found["nat"].jumps] == [
        ("PREROUTING", "KUBE-SERVICES"),
        ("OUTPUT", "KUBE-SERVICES"),
        ("POSTROUTING", "KUBE-POSTROUTING"),
    ]
    assert len(found["filter"].jumps) == 7


def test_nothing_of_the_kubelet_of_kube_router_or_of_others_is_named() -> None:
    assert removals(OTHERS) == {}
    assert removals(together(OTHERS, IPTABLES_MODE["ip"])) == removals(IPTABLES_MODE["ip"])


def test_a_chain_of_kube_proxy_stays_while_a_chain_of_somebody_else_leads_to_it() -> None:
    text = """*nat
:PREROUTING ACCEPT [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SEP-2WBGGMGUQMIQ7FHD - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd" -j KUBE-NODEPORTS
-A KUBE-NODEPORTS -g KUBE-MARK-MASQ
-A KUBE-SERVICES -j KUBE-SEP-2WBGGMGUQMIQ7FHD
COMMIT
"""
    removal = removals(text)["nat"]
    assert removal.chains == ("KUBE-SEP-2WBGGMGUQMIQ7FHD", "KUBE-SERVICES")
    assert removal.kept == {"KUBE-NODEPORTS": "CNI-HOSTPORT-SETMARK", "KUBE-MARK-MASQ": "CNI-HOSTPORT-SETMARK"}
    assert list(Plan(chains=(removal,)).kept()) == [
        f"iptables-legacy ip nat: chain {chain} stays: chain CNI-HOSTPORT-SETMARK, which kube-proxy did not make, "
        f"leads to it"
        for chain in ("KUBE-MARK-MASQ", "KUBE-NODEPORTS")
    ]


def test_the_removal_empties_chains_before_they_go_and_names_nothing_else() -> None:
    text = iptables_save.restore_text([removals(together(OTHERS, IPTABLES_MODE["ip"]))["mangle"]])
    assert text == "*mangle\n:KUBE-PROXY-CANARY - [0:0]\n-X KUBE-PROXY-CANARY\nCOMMIT\n"
    nat = iptables_save.restore_text([removals(together(OTHERS, IPTABLES_MODE["ip"]))["nat"]]).splitlines()
    assert '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES' in nat
    assert sum(line.startswith("-D") for line in nat) == 3
    assert [line.split()[0][1:] for line in nat if line.startswith(":")] == [
        line.split()[1] for line in nat if line.startswith("-X")
    ]


def nft(*items: dict[str, Any]) -> str:
    """A listing as nft prints it."""
    return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *items]})


def table(family: str, name: str) -> dict[str, Any]:
    return {"table": {"family": family, "name": name, "handle": 1}}


def chain(family: str, table_name: str, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"chain": {"family": family, "table": table_name, "name": name, "handle": 1, **more}}


def rule(family: str, table_name: str, chain_name: str, handle: int, *expr: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    body = {"family": family, "table": table_name, "chain": chain_name, "handle": handle, "expr": list(expr)}
    return {"rule": body}


def test_rules_that_iptables_keeps_in_nftables_go_by_their_handles() -> None:
    listing = nft_listing.read_ruleset(
        nft(
            table("ip", "nat"),
            chain("ip", "nat", "PREROUTING", type="nat", hook="prerouting", prio=-100, policy="accept"),
            chain("ip", "nat", "KUBE-SERVICES"),
            chain("ip", "nat", "KUBE-KUBELET-CANARY"),
            rule("ip", "nat", "PREROUTING", 7, {"xt": None}, {"counter": {}}, {"jump": {"target": "KUBE-SERVICES"}}),
            rule("ip", "nat", "PREROUTING", 8, {"accept": None}),
            rule("ip", "nat", "KUBE-SERVICES", 9, {"drop": None}),
            table("inet", "nat"),
            chain("inet", "nat", "KUBE-SERVICES"),
        )
    )
    assert len(listing.iptables) == 1
    assert listing.iptables[0].backend is Backend.NFT
    removal = chain_removal(listing.iptables[0])
    assert removal is not None
    assert nft_listing.transaction([removal], ()) == (
        "delete rule ip nat PREROUTING handle 7\nflush chain ip nat KUBE-SERVICES\ndelete chain ip nat KUBE-SERVICES\n"
    )


def test_the_tables_of_the_nftables_mode_go_whole_and_no_other() -> None:
    text = nft(
        table("ip", "kube-proxy"), table("ip6", "kube-proxy"), table("inet", "kube-proxy"), table("ip", "antrea-proxy")
    )
    plan = planned(Dumps(ruleset=text))
    assert plan.nft_tables == (("ip", "kube-proxy"), ("ip6", "kube-proxy"))
    assert nft_listing.transaction((), plan.nft_tables) == "delete table ip kube-proxy\ndelete table ip6 kube-proxy\n"


def test_virtual_servers_are_known_by_the_device_or_by_the_sets_of_node_ports() -> None:
    plan = planned(
        Dumps(
            virtual_servers=IPVS_SERVERS + OTHER_SERVERS,
            ipsets=IPSETS + OTHER_IPSETS,
            device_addresses=tuple(map(ip_address, DEVICE_ADDRESSES)),
        )
    )
    assert set(map(str, plan.virtual_servers)) == {
        "10.96.0.10:80/TCP",
        "10.96.0.20:53/UDP",
        "172.30.0.1:30080/TCP",
        "[fd00:10:96::a]:80/TCP",
    }
    assert plan.device
    assert plan.ipsets == ("KUBE-6-LOAD-BALANCER-SOURCE-CID", "KUBE-CLUSTER-IP", "KUBE-NODE-PORT-TCP")
    assert ipvs.ipvsadm_text(plan.virtual_servers).splitlines()[0] == "-D -t 10.96.0.10:80"
    assert ipvs.ipset_text(plan.ipsets).splitlines()[1] == "destroy KUBE-CLUSTER-IP"


@pytest.mark.parametrize(
    ("member", "ports"),
    [
        ("add KUBE-NODE-PORT-UDP 30053", {("UDP", 30053)}),
        ("add KUBE-NODE-PORT-LOCAL-TCP 30080-30082", {("TCP", 30080), ("TCP", 30081), ("TCP", 30082)}),
        ("add KUBE-6-NODE-PORT-SCTP-HASH fd00::1,sctp:30090", {("SCTP", 30090)}),
        ("add KUBE-CLUSTER-IP 10.96.0.10,tcp:80", set()),
        ("add KUBE-HEALTH-CHECK-NODE-PORT 32000", set()),
    ],
)
def test_node_ports_are_read_from_sets_of_each_type(member: str, ports: set[tuple[str, int]]) -> None:
    assert ipvs.read_ipset(member + "\n").node_ports == ports


def test_a_node_without_anything_of_kube_proxy_has_an_empty_plan() -> None:
    plan = planned(
        Dumps(
            legacy=dict.fromkeys(FAMILIES, OTHERS),
            ruleset=nft(table("inet", "antrea-proxy")),
            virtual_servers=OTHER_SERVERS,
            ipsets=OTHER_IPSETS,
        )
    )
    assert not plan
    assert list(plan.lines()) == []


def test_a_plan_says_all_that_goes_in_words_and_as_json() -> None:
    plan = planned(Dumps(legacy=IPTABLES_MODE, ruleset=nft(table("ip", "kube-proxy")), unseen=("ipset: no program",)))
    lines = list(plan.lines())
    assert "iptables-legacy ip nat: the jump from PREROUTING to KUBE-SERVICES" in lines
    assert "iptables-legacy ip6 filter: chain KUBE-FORWARD" in lines
    assert "nftables: table ip kube-proxy" in lines
    told = json.loads(json.dumps(plan.as_json()))
    assert told["notLookedAt"] == ["ipset: no program"]
    assert {(item["backend"], item["family"], item["table"]) for item in told["iptables"]} == {
        ("iptables-legacy", family, name) for family in FAMILIES for name in ("nat", "filter", "mangle")
    }


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf"], True),
        (["kube-proxy"], True),
        (["/hyperkube", "kube-proxy", "--v=2"], True),
        (["vim", "-R", "kube-proxy"], False),
        (["antrea-proxy", "cleanup", "kube-proxy"], False),
        (["less", "--kube-proxy"], False),
        ([""], False),
    ],
)
def test_kube_proxy_is_known_by_its_program(words: list[str], is_one: bool) -> None:  # noqa: FBT001 - a case
    assert is_kube_proxy(words) is is_one


def test_only_a_kube_proxy_of_this_network_namespace_counts(tmp_path: Path) -> None:
    process(tmp_path, "self", ["antrea-proxy"], netns="host")
    process(tmp_path, "17", ["/bin/kube-proxy", "--v=2"], netns="host")
    process(tmp_path, "18", ["/bin/kube-proxy"], netns="another")
    process(tmp_path, "19", ["/bin/sh"], netns="host")
    assert running_kube_proxies(tmp_path) == (Process(pid=17, command="/bin/kube-proxy --v=2"),)


def process(proc: Path, pid: str, words: Iterable[str], *, netns: str) -> None:
    """Put a process into a folder that stands for /proc."""
    (proc / pid / "ns").mkdir(parents=True)
    (proc / pid / "cmdline").write_text("".join(f"{word}\0" for word in words))
    (proc / netns).touch()
    (proc / pid / "ns" / "net").symlink_to(proc / netns)
