"""Finds rules that drop packets which the connection tracker calls invalid, in what the programs print. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from antrea_proxy.host.facts import DropRule
from antrea_proxy.host.kube_proxy.names import is_kube_proxys_chain

_NFT_MATCH: Final = re.compile(r"\bct state (?!!=)(?:\{[^}]*\binvalid\b[^}]*\}|[\w,]*\binvalid\b[\w,]*)")
_NFT_MAP: Final = re.compile(r"\bct state vmap \{[^}]*\binvalid : drop\b")
_NFT_VERDICT: Final = re.compile(r"\b(?:drop|reject)\b")
_NFT_COUNTER: Final = re.compile(r"counter packets \d+ bytes \d+ ?")
_SAVE_MATCH: Final = re.compile(r"(?<!! )--(?:ct)?state [A-Z,]*\bINVALID\b.* -j (?:DROP|REJECT)\b")
_OURS: Final = "antrea-proxy"


def in_ruleset(text: str) -> tuple[DropRule, ...]:
    """Read what `nft list ruleset` printed. Chains of kube-proxy's and tables of ours are left out."""
    return tuple(_in_ruleset(text))


def _in_ruleset(text: str) -> Iterator[DropRule]:
    family = table = chain = ""
    for line in map(str.strip, text.splitlines()):
        words = line.split()
        if line.endswith("{") and words[0] == "table":
            family, table = words[1], words[2]
        elif line.endswith("{") and words[0] == "chain":
            chain = words[1]
        elif _drops(line) and not _known(table, chain):
            yield DropRule(place=f"nft {family} {table} {chain}", text=_NFT_COUNTER.sub("", line))


def _drops(line: str) -> bool:
    matched = _NFT_MATCH.search(line) is not None and _NFT_VERDICT.search(line) is not None
    return matched or _NFT_MAP.search(line) is not None


def _known(table: str, chain: str) -> bool:
    """Whether a rule is ours, or one of those of kube-proxy's, which are told as a whole."""
    return table.startswith(_OURS) or table == "kube-proxy" or is_kube_proxys_chain(table, chain)


def in_iptables_save(text: str, *, family: str) -> tuple[DropRule, ...]:
    """Read what iptables-legacy-save printed; `family` is ip or ip6. Chains of kube-proxy's are left out."""
    return tuple(_in_iptables_save(text, family))


def _in_iptables_save(text: str, family: str) -> Iterator[DropRule]:
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A ") and _SAVE_MATCH.search(line):
            chain = line.split()[1]
            if not is_kube_proxys_chain(table, chain):
                yield DropRule(place=f"iptables-legacy {family} {table} {chain}", text=line.removeprefix("-A "))
