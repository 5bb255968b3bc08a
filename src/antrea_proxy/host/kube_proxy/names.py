"""The names under which kube-proxy keeps its things. Pure.

Source: pkg/proxy/{iptables,ipvs,nftables} of Kubernetes 1.20 to 1.34. The kubelet (KUBE-FIREWALL, KUBE-IPTABLES-HINT,
KUBE-KUBELET-CANARY, KUBE-MARK-DROP; KEP 3178) and kube-router (KUBE-ROUTER-*, KUBE-NWPLCY-*, KUBE-POD-FW-*, KUBE-SRC-*,
KUBE-DST-*) begin theirs with KUBE-, too: so every name is listed, and the prefix decides nothing.
"""

from __future__ import annotations

import re
from typing import Final

NFT_TABLES: Final = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))
"""Family and name of the tables of the nftables mode."""

_CHAINS: Final = {
    "nat": frozenset(
        {
            "KUBE-FIREWALL",  # of the ipvs mode; the kubelet's is in the table filter
            "KUBE-LOAD-BALANCER",
            "KUBE-MARK-MASQ",
            "KUBE-NODE-PORT",
            "KUBE-NODEPORTS",
            "KUBE-POSTROUTING",
            "KUBE-PROXY-CANARY",
            "KUBE-SERVICES",
        }
    ),
    "filter": frozenset(
        {
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-FORWARD",
            "KUBE-IPVS-FILTER",
            "KUBE-IPVS-OUT-FILTER",
            "KUBE-NODE-PORT",
            "KUBE-NODEPORTS",
            "KUBE-PROXY-CANARY",
            "KUBE-PROXY-FIREWALL",
            "KUBE-SERVICES",
            "KUBE-SOURCE-RANGES-FIREWALL",
        }
    ),
    "mangle": frozenset({"KUBE-PROXY-CANARY"}),
}
_SERVICE_CHAIN: Final = re.compile(r"KUBE-(SVC|SVL|SEP|FW|EXT|XLB)-[A-Z2-7]{16}")
"""A Service's or an endpoint's own chain: a prefix and 16 characters of base32 of a digest."""

_SETS: Final = (
    "CLUSTER-IP",
    "EXTERNAL-IP",
    "EXTERNAL-IP-LOCAL",
    "HEALTH-CHECK-NODE-PORT",
    "IPVS-IPS",
    "LOAD-BALANCER",
    "LOAD-BALANCER-FW",
    "LOAD-BALANCER-LOCAL",
    "LOAD-BALANCER-SOURCE-CIDR",
    "LOAD-BALANCER-SOURCE-IP",
    "LOOP-BACK",
    "NODE-PORT-LOCAL-SCTP",
    "NODE-PORT-LOCAL-SCTP-HASH",
    "NODE-PORT-LOCAL-TCP",
    "NODE-PORT-LOCAL-UDP",
    "NODE-PORT-SCTP",
    "NODE-PORT-SCTP-HASH",
    "NODE-PORT-TCP",
    "NODE-PORT-UDP",
)
_SET_NAME_MAX: Final = 31  # IPSET_MAXNAMELEN of linux/netfilter/ipset/ip_set.h holds the closing NUL too

IPSETS: Final = frozenset(f"{prefix}{name}"[:_SET_NAME_MAX] for prefix in ("KUBE-", "KUBE-6-") for name in _SETS)
"""The sets of the ipvs mode, in both families."""

IPTABLES_TABLES: Final = tuple(_CHAINS)
"""The tables of iptables in which kube-proxy has chains."""


def is_kube_proxys_chain(table: str, chain: str) -> bool:
    """Whether a chain of an iptables table is one of kube-proxy's."""
    return chain in _CHAINS.get(table, ()) or (table == "nat" and _SERVICE_CHAIN.fullmatch(chain) is not None)
