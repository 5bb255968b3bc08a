"""Facts of a Node are read from what its programs and its kernel print."""

from __future__ import annotations

import pytest

from antrea_proxy.host.drop_rules import in_iptables_save, in_ruleset
from antrea_proxy.host.facts import Listener
from antrea_proxy.host.listeners import read_listeners

RULESET = """
table inet firewall {
	chain forward {
		type filter hook forward priority filter; policy accept;
		%s
	}
}
"""


@pytest.mark.parametrize(
    "rule",
    [
        "ct state invalid drop",
        "ct state invalid counter packets 3 bytes 180 drop",
        'iifname "eth0" ct state { invalid, untracked } log prefix "no: " drop comment "stray"',
        "ct state invalid,untracked reject with icmpx admin-prohibited",
        "ct state vmap { invalid : drop, established : accept, related : accept }",
    ],
)
def test_a_rule_that_drops_invalid_packets_is_found_with_its_place(rule: str) -> None:
    (found,) = in_ruleset(RULESET % rule)
    assert found.place == "nft inet firewall forward"
    assert "packets 3" not in found.text


@pytest.mark.parametrize(
    "rule",
    [
        "ct state established,related accept",
        "ct state invalid accept",
        "ct state != invalid drop",
        "ct state vmap { invalid : accept }",
        'tcp dport 22 drop comment "ct is fine"',
    ],
)
def test_other_rules_are_not(rule: str) -> None:
    assert in_ruleset(RULESET % rule) == ()


def test_rules_of_ours_and_of_kube_proxy_are_told_elsewhere() -> None:
    ours = RULESET.replace("inet firewall", "inet antrea-proxy") % "ct state invalid drop"
    chain = RULESET.replace("inet firewall", "ip filter").replace("chain forward", "chain KUBE-FORWARD")
    assert in_ruleset(ours + chain % "ct state invalid drop") == ()


def test_legacy_rules_are_read_from_iptables_save() -> None:
    text = """*filter
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack ! --ctstate INVALID -j DROP
-A INPUT -m state --state INVALID,UNTRACKED -m comment --comment "stray" -j REJECT --reject-with icmp-host-prohibited
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
"""
    first, second = in_iptables_save(text, family="ip")
    assert str(first) == "iptables-legacy ip filter FORWARD: FORWARD -m conntrack --ctstate INVALID -j DROP"
    assert second.place == "iptables-legacy ip filter INPUT"


def test_sockets_that_wait_for_others_are_listeners() -> None:
    text = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:7580 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:286E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 010012AC:9318 FE0012AC:192B 01 00000000:00000000 02:0000058B 00000000     0        0 3 2 0 20 4 32 14 -1
"""
    assert read_listeners(text, "TCP") == {Listener(protocol="TCP", port=30080)}
    assert read_listeners(text.replace(" 0A ", " 07 "), "UDP") == {Listener(protocol="UDP", port=30080)}
