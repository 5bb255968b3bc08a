"""Looks at what the Node holds, with the programs that are there, and says what it could not look at."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from antrea_proxy.host.errors import HostError
from antrea_proxy.host.kube_proxy.names import IPTABLES_TABLES
from antrea_proxy.host.kube_proxy.plan import Dumps
from antrea_proxy.host.kube_proxy.programs import find, output_of
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.network.values import IPVS_DEVICE, IPAddress

LEGACY_PREFIXES: Final = {"ip": "iptables", "ip6": "ip6tables"}
"""How the programs of each family begin."""

_TABLE_NAMES = {"ip": Path("/proc/net/ip_tables_names"), "ip6": Path("/proc/net/ip6_tables_names")}
_VIRTUAL_SERVERS = Path("/proc/net/ip_vs")
_IPSET_MODULE = Path("/sys/module/ip_set")


async def look(netlink: Netlink, nft: Nft) -> Dumps:
    """Gather the dumps of the network namespace that the process is in.

    A program that is missing is no error where the kernel holds nothing of its kind. What cannot be looked at for this
    or for another reason is named in `unseen`.
    """
    unseen: list[str] = []
    ruleset = virtual_servers = ipsets = ""
    legacy: dict[str, str] = {}
    try:
        ruleset = await nft.ruleset()
    except HostError as error:
        unseen.append(f"nftables, and iptables' nft back end: {error}")
    for family in LEGACY_PREFIXES:
        try:
            legacy |= await _legacy(family)
        except HostError as error:
            unseen.append(f"iptables' legacy back end, {family}: {error}")
    try:
        virtual_servers = await _virtual_servers()
    except HostError as error:
        unseen.append(f"ipvs: {error}")
    try:
        ipsets = await _ipsets()
    except HostError as error:
        unseen.append(f"ipset: {error}")
    return Dumps(
        legacy=legacy,
        ruleset=ruleset,
        virtual_servers=virtual_servers,
        ipsets=ipsets,
        device_addresses=await _device_addresses(netlink),
        unseen=tuple(unseen),
    )


async def legacy_program(family: str, verb: str) -> str | None:
    """Return the program that saves or restores (`verb`) the legacy back end's rules; None where there is none.

    Where iptables has no program of that name, `iptables-save` may be of the legacy back end: it says so.
    """
    prefix = LEGACY_PREFIXES[family]
    if found := find(f"{prefix}-legacy-{verb}"):
        return found
    found = find(f"{prefix}-{verb}")
    if found is not None and "nf_tables" in await output_of(found, "--version"):
        return None
    return found


async def _legacy(family: str) -> dict[str, str]:
    present = set(_lines(_TABLE_NAMES[family])) & set(IPTABLES_TABLES)
    if not present:
        return {}
    program = await legacy_program(family, "save")
    if program is None:
        raise HostError(
            f"the kernel holds {', '.join(sorted(present))}, and iptables-legacy is not there; "
            "install it (apt install iptables)"
        )
    return {family: await output_of(program)}


async def _virtual_servers() -> str:
    held = [line for line in _lines(_VIRTUAL_SERVERS) if line.startswith(("TCP", "UDP", "SCTP"))]
    if not held:
        return ""
    program = find("ipvsadm")
    if program is None:
        raise HostError(
            f"the kernel holds {len(held)} virtual servers, and ipvsadm is not there; install it (apt install ipvsadm)"
        )
    return await output_of(program, "-Sn")


async def _ipsets() -> str:
    """Without the program nothing can be told: the kernel shows its sets over netlink alone."""
    if not _kernel_has_ipset():
        return ""
    program = find("ipset")
    if program is None:
        raise HostError("the kernel may hold sets, and the program ipset is not there; install it (apt install ipset)")
    return await output_of(program, "save")


async def _device_addresses(netlink: Netlink) -> tuple[IPAddress, ...] | None:
    if not await netlink.link_exists(IPVS_DEVICE):
        return None
    found = (uplink for uplink in await netlink.uplinks() if uplink.name == IPVS_DEVICE)
    return tuple(address.ip for uplink in found for address in uplink.addresses)


def _kernel_has_ipset() -> bool:
    return _IPSET_MODULE.exists()


def _lines(path: Path) -> list[str]:
    """The lines of a file of /proc; none where the kernel has no such part."""
    try:
        return path.read_text().split("\n")
    except OSError:
        return []
