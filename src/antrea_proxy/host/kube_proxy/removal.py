"""Carries a plan out, each part also when another fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from antrea_proxy.host.errors import HostError, raise_all
from antrea_proxy.host.kube_proxy import iptables_save, ipvs, nft_listing
from antrea_proxy.host.kube_proxy.chains import Backend
from antrea_proxy.host.kube_proxy.looking import LEGACY_PREFIXES, legacy_program
from antrea_proxy.host.kube_proxy.plan import Plan
from antrea_proxy.host.kube_proxy.programs import ProgramFailed, find, output_of
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.network.values import IPVS_DEVICE

_LOCK_SECONDS = "10"
"""How long another program may hold the lock of the legacy back end (iptables(8), `--wait`)."""


async def remove(plan: Plan, netlink: Netlink, nft: Nft) -> None:
    """Remove what the plan names: sets last, as rules refer to them.

    Raises HostError with all that failed; what is gone by then stays gone, and another call goes on from there.
    """
    problems: list[HostError] = []

    async def part(work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except HostError as error:
            problems.append(error)

    nft_text = nft_listing.transaction(plan.of(Backend.NFT), plan.nft_tables)
    if nft_text:
        await part(lambda: nft.transact(nft_text))
    for family in LEGACY_PREFIXES:
        text = iptables_save.restore_text(item for item in plan.of(Backend.LEGACY) if item.family == family)
        if text:
            await part(lambda family=family, text=text: _restore(family, text))  # type: ignore[misc]
    if plan.virtual_servers:
        await part(lambda: _feed("ipvsadm", "-R", text=ipvs.ipvsadm_text(plan.virtual_servers)))
    if plan.device:
        await part(lambda: netlink.delete_link(IPVS_DEVICE))
    if plan.ipsets:
        await part(lambda: _feed("ipset", "restore", text=ipvs.ipset_text(plan.ipsets)))
    raise_all(problems)


async def _restore(family: str, text: str) -> None:
    program = await legacy_program(family, "restore")
    if program is None:
        raise ProgramFailed(f"{LEGACY_PREFIXES[family]}-legacy-restore is not installed (apt install iptables)")
    await output_of(program, "--noflush", "--wait", _LOCK_SECONDS, text=text)


async def _feed(name: str, *arguments: str, text: str) -> None:
    program = find(name)
    if program is None:
        raise ProgramFailed(f"{name} is not installed (apt install {name})")
    await output_of(program, *arguments, text=text)
