"""Which chains and rules of one iptables table are kube-proxy's. Pure, and the same for each back end and family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from antrea_proxy.host.kube_proxy.names import is_kube_proxys_chain


class Backend(Enum):
    """Where the kernel keeps the rules of iptables."""

    LEGACY = "iptables-legacy"
    """The older one, reached by iptables-legacy alone."""
    NFT = "iptables-nft"
    """Tables of nftables that bear iptables' names, reached by nft, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule. `target` is the chain that it jumps or goes to, empty for none.

    `handle` is what the back end takes to remove it: its specification for iptables-restore, its number for nft.
    """

    chain: str
    target: str
    handle: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IptablesTable:
    """One table as found. `family` is `ip` or `ip6`; `own_chains` are those that users made, not the built-in ones."""

    backend: Backend
    family: str
    name: str
    own_chains: frozenset[str]
    rules: tuple[Rule, ...]

    def __str__(self) -> str:
        return f"{self.backend.value} {self.family} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRemoval:
    """What goes from one table: first the jumps, then the chains, which are empty by then. Both in a lasting order.

    `kept` are chains of kube-proxy's that somebody else's chain leads to, each with that chain.
    """

    backend: Backend
    family: str
    table: str
    jumps: tuple[Rule, ...]
    chains: tuple[str, ...]
    kept: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.backend.value} {self.family} {self.table}"


def chain_removal(table: IptablesTable) -> ChainRemoval | None:
    """Return what kube-proxy left in a table; None where there is nothing.

    A rule of a built-in chain that jumps to a chain of kube-proxy's is its own, too: it goes with that chain. A rule in
    a chain that somebody else made is not, so what it leads to stays, with all that this leads to in turn.
    """
    theirs = frozenset(chain for chain in table.own_chains if is_kube_proxys_chain(table.name, chain))
    kept = _led_to(table.rules, table.own_chains - theirs, theirs)
    chains = theirs - kept.keys()
    jumps = tuple(rule for rule in table.rules if rule.target in chains and rule.chain not in table.own_chains)
    if not theirs:
        return None
    return ChainRemoval(
        backend=table.backend,
        family=table.family,
        table=table.name,
        jumps=jumps,
        chains=tuple(sorted(chains)),
        kept=kept,
    )


def _led_to(rules: Iterable[Rule], others: frozenset[str], theirs: frozenset[str]) -> dict[str, str]:
    """Find kube-proxy's chains that can be reached from others' chains, each with the other's chain that it is."""
    targets: dict[str, list[str]] = {}
    for rule in rules:
        if rule.target in theirs:
            targets.setdefault(rule.chain, []).append(rule.target)
    found: dict[str, str] = {}
    waiting = [(chain, chain) for chain in sorted(others)]
    while waiting:
        chain, first = waiting.pop()
        for target in targets.get(chain, ()):
            if target not in found:
                found[target] = first
                waiting.append((target, first))
    return found
