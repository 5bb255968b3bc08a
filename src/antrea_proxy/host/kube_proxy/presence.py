"""Whether kube-proxy's rules translate what comes to Services: told by names alone, however many Services there are."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from antrea_proxy.host.errors import HostError
from antrea_proxy.host.kube_proxy.names import NFT_TABLES
from antrea_proxy.host.kube_proxy.programs import find, output_of

_FIRST_CHAIN: Final = ("nat", "KUBE-SERVICES")
"""Through it, the iptables mode sees all that is new."""

_LEGACY: Final = {Path("/proc/net/ip_tables_names"): "iptables", Path("/proc/net/ip6_tables_names"): "ip6tables"}
"""The tables of the legacy back end by family, and its program."""


class Chains(Protocol):
    """Who knows the chains of nftables."""

    async def chains(self) -> tuple[tuple[str, str, str], ...]:
        """Return family, table and name of every chain. Raises HostError."""


async def translates(nft: Chains) -> bool:
    """Whether rules of the iptables or the nftables mode are in place.

    Raises HostError.
    """
    for family, table, chain in await nft.chains():
        if (family, table) in NFT_TABLES or (family in {"ip", "ip6"} and (table, chain) == _FIRST_CHAIN):
            return True
    return any([await _in_legacy(names, program) for names, program in _LEGACY.items()])


async def _in_legacy(names: Path, program: str) -> bool:
    legacy = find(f"{program}-legacy") or find(program)
    if "nat" not in _tables(names) or legacy is None:
        return False
    try:
        # The canary has no rules, so that asking for it costs the same with any number of Services.
        await output_of(legacy, "-t", "nat", "-S", "KUBE-PROXY-CANARY")
    except HostError:
        return False
    return True


def _tables(names: Path) -> list[str]:
    """The tables of the kernel's legacy back end; none where it has no such part."""
    try:
        return names.read_text().split()
    except OSError:
        return []
