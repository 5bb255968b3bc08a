"""What kube-proxy lays down on a Node, as it documents its chains, and rules of others beside it.

For a Service default/web (10.96.0.10:80, node port 30080, load-balancer IP 203.0.113.5) with two endpoints.
"""

from __future__ import annotations

_NAT = """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-EXT-LOLE4ISW44XBNF3G - [0:0]
:KUBE-FW-LOLE4ISW44XBNF3G - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-2WBGGMGUQMIQ7FHD - [0:0]
:KUBE-SEP-XK5C5LDNGVI7RBWR - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-LOLE4ISW44XBNF3G - [0:0]
:KUBE-SVL-LOLE4ISW44XBNF3G - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-EXT-LOLE4ISW44XBNF3G -m comment --comment "masquerade traffic for default/web" -j KUBE-MARK-MASQ
-A KUBE-EXT-LOLE4ISW44XBNF3G -j KUBE-SVC-LOLE4ISW44XBNF3G
-A KUBE-FW-LOLE4ISW44XBNF3G -m comment --comment "default/web loadbalancer IP" -j KUBE-EXT-LOLE4ISW44XBNF3G
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 30080 -j KUBE-EXT-LOLE4ISW44XBNF3G
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-2WBGGMGUQMIQ7FHD -s {one} -m comment --comment "default/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-2WBGGMGUQMIQ7FHD -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination {to_one}
-A KUBE-SEP-XK5C5LDNGVI7RBWR -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination {to_two}
-A KUBE-SERVICES -d {web} -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 \
-j KUBE-SVC-LOLE4ISW44XBNF3G
-A KUBE-SERVICES -d {balancer} -p tcp -m comment --comment "default/web loadbalancer IP" -m tcp --dport 80 \
-j KUBE-FW-LOLE4ISW44XBNF3G
-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" \
-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-LOLE4ISW44XBNF3G -m comment --comment "default/web -> one" -m statistic --mode random \
--probability 0.50000000000 -j KUBE-SEP-2WBGGMGUQMIQ7FHD
-A KUBE-SVC-LOLE4ISW44XBNF3G -m comment --comment "default/web -> two" -j KUBE-SEP-XK5C5LDNGVI7RBWR
-A KUBE-SVL-LOLE4ISW44XBNF3G -m comment --comment "default/web -> one" -j KUBE-SEP-2WBGGMGUQMIQ7FHD
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" \
-j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -d {empty} -p tcp -m comment --comment "default/empty has no endpoints" -m tcp --dport 80 \
-j REJECT --reject-with {refusal}
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
"""

IPTABLES_MODE = {
    "ip": _NAT.format(
        web="10.96.0.10/32",
        balancer="203.0.113.5/32",
        empty="10.96.0.11/32",
        one="10.10.1.2/32",
        to_one="10.10.1.2:8080",
        to_two="10.10.2.2:8080",
        refusal="icmp-port-unreachable",
    ),
    "ip6": _NAT.format(
        web="fd00:10:96::a/128",
        balancer="2001:db8::5/128",
        empty="fd00:10:96::b/128",
        one="fd00:10:1::2/128",
        to_one="[fd00:10:1::2]:8080",
        to_two="[fd00:10:2::2]:8080",
        refusal="icmp6-port-unreachable",
    ),
}
"""By family: the input of iptables-restore --noflush."""

OTHERS = """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-DROP - [0:0]
-A PREROUTING -m comment --comment "looks like it: -j KUBE-SERVICES" -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "a jump to KUBE-POSTROUTING" -j MASQUERADE
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8443 -j ACCEPT
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-NWPLCY-DEFAULT - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp -m tcp --dport 22 -m comment --comment "it's ssh" -j ACCEPT
-A FORWARD -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A KUBE-ROUTER-FORWARD -j KUBE-NWPLCY-DEFAULT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
"""
"""Of the kubelet, of kube-router, of a CNI plugin and of the Node's owner; the same in both families."""

NFTABLES_MODE = """\
table {family} kube-proxy {{
  comment "rules for kube-proxy"
  map service-ips {{
    type {family_type} . inet_proto . inet_service : verdict
    elements = {{ {web} . tcp . 80 : goto service-ULMVA6XW-default/web/tcp/ }}
  }}
  chain service-ULMVA6XW-default/web/tcp/ {{
    numgen random mod 1 vmap {{ 0 : goto endpoint-5TPGNJF2-default/web/tcp/one }}
  }}
  chain endpoint-5TPGNJF2-default/web/tcp/one {{
    meta l4proto tcp dnat to {one}
  }}
  chain services {{
    {family} daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
}}
"""


def nftables_mode(family: str) -> str:
    """Return the input of `nft -f -` that makes a table as the nftables mode does."""
    web, one = ("10.96.0.10", "10.10.1.2:8080") if family == "ip" else ("fd00:10:96::a", "[fd00:10:1::2]:8080")
    return NFTABLES_MODE.format(
        family=family, family_type=f"ipv{'4' if family == 'ip' else '6'}_addr", web=web, one=one
    )


OTHERS_NFT = """\
table inet firewall {
  chain KUBE-SERVICES {
    tcp dport 22 accept
  }
  chain input {
    type filter hook input priority 0; policy accept;
    jump KUBE-SERVICES
  }
}
table inet kube-proxy {
  chain notes {
  }
}
"""
"""Of others, under names that kube-proxy uses elsewhere."""

IPVS_SERVERS = """\
-A -t 10.96.0.10:80 -s rr
-a -t 10.96.0.10:80 -r 10.10.1.2:8080 -m -w 1
-A -u 10.96.0.20:53 -s rr -p 10800
-A -t 172.30.0.1:30080 -s rr
-A -t [fd00:10:96::a]:80 -s rr
"""
"""kube-proxy's virtual servers, as `ipvsadm -R` takes them and `ipvsadm -Sn` shows them."""

OTHER_SERVERS = """\
-A -f 7 -s wrr
-A -t 192.0.2.9:443 -s wlc
-a -t 192.0.2.9:443 -r 192.0.2.10:80 -g -w 1
-A -u 172.30.0.1:30080 -s rr
"""
"""Of somebody else: by firewall mark, and at ports and addresses that are not kube-proxy's in that protocol."""

DEVICE_ADDRESSES = ("10.96.0.10", "10.96.0.20", "fd00:10:96::a")
"""Those of kube-ipvs0."""

IPSETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536
add KUBE-CLUSTER-IP 10.96.0.10,tcp:80
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create KUBE-6-LOAD-BALANCER-SOURCE-CID hash:ip,port,net family inet6 hashsize 1024 maxelem 65536
"""
"""kube-proxy's sets, as `ipset restore` takes them; some of them."""

OTHER_IPSETS = """\
create KUBE-SRC-XYZ hash:ip family inet hashsize 1024 maxelem 65536
create blocked hash:net family inet hashsize 1024 maxelem 65536
add blocked 198.51.100.0/24
"""
"""Of kube-router and of the Node's owner."""
