"""From dumps to what is to be removed: a value that tells itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from antrea_proxy.host.kube_proxy import iptables_save, ipvs, nft_listing
from antrea_proxy.host.kube_proxy.chains import Backend, ChainRemoval, chain_removal
from antrea_proxy.network.values import IPVS_DEVICE, IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumps:
    """What the Node holds, as its programs told it; what was not asked, or holds nothing, is empty.

    `legacy` is of iptables-legacy-save by family (ip, ip6), `ruleset` of `nft -j list ruleset`, `virtual_servers` of
    `ipvsadm -Sn`, `ipsets` of `ipset save`. `device_addresses` are those of kube-ipvs0, None where there is none.
    `unseen` says what could not be looked at, and what would help.
    """

    legacy: Mapping[str, str] = field(default_factory=dict)
    ruleset: str = ""
    virtual_servers: str = ""
    ipsets: str = ""
    device_addresses: tuple[IPAddress, ...] | None = None
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that kube-proxy left; true where there is anything. `device` says that kube-ipvs0 goes."""

    chains: tuple[ChainRemoval, ...] = ()
    nft_tables: tuple[tuple[str, str], ...] = ()
    virtual_servers: tuple[ipvs.VirtualServer, ...] = ()
    device: bool = False
    ipsets: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        chains = any(removal.chains for removal in self.chains)
        return chains or self.device or bool(self.nft_tables or self.virtual_servers or self.ipsets)

    def of(self, backend: Backend) -> tuple[ChainRemoval, ...]:
        """The chains that one back end of iptables keeps."""
        return tuple(removal for removal in self.chains if removal.backend is backend and removal.chains)

    def lines(self) -> Iterator[str]:
        """Say in words what goes: one line for each thing that kube-proxy made on purpose."""
        for removal in self.chains:
            for rule in removal.jumps:
                yield f"{removal}: the jump from {rule.chain} to {rule.target}"
            for chain in removal.chains:
                yield f"{removal}: chain {chain}"
        for family, name in self.nft_tables:
            yield f"nftables: table {family} {name}"
        for server in self.virtual_servers:
            yield f"ipvs: virtual server {server}"
        if self.device:
            yield f"ipvs: device {IPVS_DEVICE}"
        for name in self.ipsets:
            yield f"ipset: set {name}"

    def kept(self) -> Iterator[str]:
        """Say in words what stays although kube-proxy made it."""
        for removal in self.chains:
            for chain, other in sorted(removal.kept.items()):
                yield f"{removal}: chain {chain} stays: chain {other}, which kube-proxy did not make, leads to it"

    def as_json(self) -> dict[str, Any]:
        """Tell all of it as plain data."""
        return {
            "iptables": [
                {
                    "backend": removal.backend.value,
                    "family": removal.family,
                    "table": removal.table,
                    "jumps": [{"from": rule.chain, "to": rule.target} for rule in removal.jumps],
                    "chains": list(removal.chains),
                    "kept": dict(removal.kept),
                }
                for removal in self.chains
            ],
            "nftables": [{"family": family, "table": name} for family, name in self.nft_tables],
            "virtualServers": [str(server) for server in self.virtual_servers],
            "devices": [IPVS_DEVICE] if self.device else [],
            "ipsets": list(self.ipsets),
            "notLookedAt": list(self.unseen),
        }


def planned(dumps: Dumps) -> Plan:
    """Return what kube-proxy left on a Node that holds this.

    Raises ValueError for a dump that cannot be read.
    """
    listing = nft_listing.read_ruleset(dumps.ruleset) if dumps.ruleset else nft_listing.NftListing()
    tables = [*listing.iptables]
    for family, text in dumps.legacy.items():
        tables += iptables_save.read_dump(text, family=family)
    sets = ipvs.read_ipset(dumps.ipsets)
    return Plan(
        chains=tuple(removal for table in tables if (removal := chain_removal(table)) is not None),
        nft_tables=listing.kube_proxys,
        virtual_servers=ipvs.kube_proxys_servers(
            ipvs.read_ipvsadm(dumps.virtual_servers),
            device_addresses=dumps.device_addresses or (),
            node_ports=sets.node_ports,
        ),
        device=dumps.device_addresses is not None,
        ipsets=sets.names,
        unseen=dumps.unseen,
    )
