"""What `nft -j list ruleset` shows of kube-proxy, and the transaction that removes it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from antrea_proxy.host.kube_proxy.chains import Backend, ChainRemoval, IptablesTable, Rule
from antrea_proxy.host.kube_proxy.names import IPTABLES_TABLES, NFT_TABLES

_FAMILIES = ("ip", "ip6")


@dataclass(frozen=True, slots=True, kw_only=True)
class NftListing:
    """The tables that iptables-nft keeps, and those of kube-proxy's nftables mode, by family and name."""

    iptables: tuple[IptablesTable, ...] = ()
    kube_proxys: tuple[tuple[str, str], ...] = ()


def read_ruleset(text: str) -> NftListing:
    """Read a whole listing. Raises ValueError for text that is none."""
    items: list[dict[str, Any]] = json.loads(text)["nftables"]
    tables = {(item["table"]["family"], item["table"]["name"]) for item in items if "table" in item}
    return NftListing(
        iptables=tuple(
            _table(items, family, name) for family in _FAMILIES for name in IPTABLES_TABLES if (family, name) in tables
        ),
        kube_proxys=tuple(table for table in NFT_TABLES if table in tables),
    )


def _table(items: Iterable[dict[str, Any]], family: str, name: str) -> IptablesTable:
    chains: set[str] = set()
    rules: list[Rule] = []
    for item in items:
        if chain := _of(item, "chain", family, name):
            if "hook" not in chain:  # a base chain is one of iptables' built-in ones
                chains.add(chain["name"])
        elif rule := _of(item, "rule", family, name):
            rules.append(Rule(chain=rule["chain"], target=_target(rule.get("expr", ())), handle=str(rule["handle"])))
    return IptablesTable(
        backend=Backend.NFT, family=family, name=name, own_chains=frozenset(chains), rules=tuple(rules)
    )


def _of(item: dict[str, Any], kind: str, family: str, table: str) -> dict[str, Any] | None:
    found = item.get(kind)
    return found if isinstance(found, dict) and (found["family"], found["table"]) == (family, table) else None


def _target(expressions: Iterable[Any]) -> str:
    for expression in expressions:
        for verdict in ("jump", "goto"):
            if isinstance(expression, dict) and isinstance(expression.get(verdict), dict):
                return str(expression[verdict]["target"])
    return ""


def transaction(removals: Iterable[ChainRemoval], tables: Iterable[tuple[str, str]]) -> str:
    """Write the one transaction of `nft -f -` that removes chains with their jumps, and whole tables."""
    lines: list[str] = []
    for removal in removals:
        where = f"{removal.family} {removal.table}"
        lines += (f"delete rule {where} {rule.chain} handle {rule.handle}" for rule in removal.jumps)
        lines += (f"flush chain {where} {chain}" for chain in removal.chains)
        lines += (f"delete chain {where} {chain}" for chain in removal.chains)
    lines += (f"delete table {family} {name}" for family, name in tables)
    return "".join(f"{line}\n" for line in lines)
