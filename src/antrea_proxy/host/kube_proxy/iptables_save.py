"""The language of iptables-save and iptables-restore. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from antrea_proxy.host.kube_proxy.chains import Backend, ChainRemoval, IptablesTable, Rule

_NO_POLICY = "-"  # what stands in the place of a policy shows that the chain is not a built-in one
_JUMPS = frozenset({"-j", "--jump", "-g", "--goto"})


def read_dump(text: str, *, family: str) -> tuple[IptablesTable, ...]:
    """Read what iptables-legacy-save (`family` ip) or ip6tables-legacy-save (ip6) printed."""
    return tuple(_tables(text.splitlines(), family))


def _tables(lines: Iterable[str], family: str) -> Iterator[IptablesTable]:
    name, chains, rules = "", set[str](), list[Rule]()
    for line in lines:
        if line.startswith("*"):
            name, chains, rules = line[1:].strip(), set(), []
        elif line.startswith(":"):
            chain, policy, *_ = line[1:].split()
            if policy == _NO_POLICY:
                chains.add(chain)
        elif line.startswith("-A "):
            rules.append(_rule(line.removeprefix("-A ")))
        elif line.strip() == "COMMIT":
            yield IptablesTable(
                backend=Backend.LEGACY, family=family, name=name, own_chains=frozenset(chains), rules=tuple(rules)
            )


def _rule(specification: str) -> Rule:
    """Read a rule; a comment may say anything, so words are taken as iptables-restore takes them."""
    chain, *words = shlex.split(specification)
    places = (index for index, word in enumerate(words[:-1]) if word in _JUMPS)
    target = next((words[index + 1] for index in reversed(list(places))), "")
    return Rule(chain=chain, target=target, handle=specification)


def restore_text(removals: Iterable[ChainRemoval]) -> str:
    """Write the input of `iptables-legacy-restore --noflush` that carries removals out, each table at once."""
    return "".join(map(_table_text, removals))


def _table_text(removal: ChainRemoval) -> str:
    """A chain that is declared again is emptied (iptables-restore(8), `--noflush`)."""
    lines = [
        f"*{removal.table}",
        *(f":{chain} - [0:0]" for chain in removal.chains),
        *(f"-D {rule.handle}" for rule in removal.jumps),
        *(f"-X {chain}" for chain in removal.chains),
        "COMMIT",
    ]
    return "".join(f"{line}\n" for line in lines)
