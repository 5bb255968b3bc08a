"""Runs nft; translates its errors. The only place that starts it."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterable
from typing import Any

from antrea_proxy.host.errors import NftError
from antrea_proxy.host.nftables import (
    Table,
    change,
    listed_elements,
    removal,
    replacement,
    same_rules,
    shield,
    shielded_interface,
    unshield,
)

_ABSENT = "No such file or directory"
_VOLATILE = frozenset({"handle", "bytes", "packets", "index"})
"""What changes in a listing without anybody changing a rule."""


class Nft:
    """Our tables in the kernel, of the network namespace that the process runs in.

    How a rule reads in a listing is nft's own affair. So what we wrote is read back once, and a listing that later
    differs from that one has been changed by somebody else. Elements of sets are told by themselves.
    """

    def __init__(self) -> None:
        self._written: dict[str, tuple[Table, object]] = {}
        self._lock = asyncio.Lock()

    async def write(self, table: Table) -> bool:
        """Make the table hold exactly this; say whether anything had to change.

        Raises NftError.
        """
        async with self._lock:
            before, listing = self._written.get(str(table), (None, None))
            transaction = replacement(table)
            if before is not None:
                found = await self._listing(table.family, table.name)
                if _rules(found) == listing and _elements(found) == {item.name: item.elements for item in before.sets}:
                    transaction = change(before, table)
            if not transaction:
                return False
            self._written.pop(str(table), None)
            await self._run("-f", "-", text=transaction)
            self._written[str(table)] = table, _rules(await self._listing(table.family, table.name))
            return True

    async def change(self, table: Table) -> bool:
        """Change the table to this from what was written last, without a look at it; say whether that was possible.

        Raises NftError: then somebody else has changed the table, too.
        """
        async with self._lock:
            before, listing = self._written.get(str(table), (None, None))
            if before is None or not same_rules(before, table):
                return False
            if transaction := change(before, table):
                await self._run("-f", "-", text=transaction)
                self._written[str(table)] = table, listing
            return True

    async def remove(self, family: str, name: str) -> None:
        """Remove a table of ours; an absent one is no error.

        Raises NftError.
        """
        async with self._lock:
            self._written.pop(f"{family} {name}", None)
            await self._run("-f", "-", text=removal(family, name))

    async def shield(
        self, family: str, table: str, interfaces: Iterable[str], *, present: frozenset[str] | None = None
    ) -> frozenset[str]:
        """Make the kernel drop what it sees of these interfaces; return those for which it did not yet.

        With `present`, the names of all links, those that are gone are passed over, and their shields removed: a kernel
        before 6.16 does that by itself, a later one keeps them for the next interface of that name.
        Raises NftError, also when an interface is gone: then nothing has changed.
        """
        async with self._lock:
            listing = await self._listing(family, table)
            wanted = frozenset(interfaces)
            gone = frozenset[str]() if present is None else _shields(listing) - present
            missing = (wanted if present is None else wanted & present) - _intact_shields(listing)
            lines = shield(family, table, missing) if missing else ""
            lines += "".join(unshield(family, table, name) for name in sorted(gone))
            if lines:
                await self._run("-f", "-", text=lines)
            return missing

    async def unshield(self, family: str, table: str, interface: str) -> None:
        """Let the kernel see an interface's frames again; one that it sees already, or that is gone, is no error.

        Raises NftError.
        """
        async with self._lock:
            try:
                await self._run("-f", "-", text=unshield(family, table, interface))
            except NftError:
                if interface in _intact_shields(await self._listing(family, table)):
                    raise

    async def chains(self) -> tuple[tuple[str, str, str], ...]:
        """Return family, table and name of every chain of everybody.

        Raises NftError.
        """
        listed = json.loads(await self._run("-j", "list", "chains"))["nftables"]
        found = (item["chain"] for item in listed if "chain" in item)
        return tuple((chain["family"], chain["table"], chain["name"]) for chain in found)

    async def ruleset(self) -> str:
        """Return all tables of everybody as nft's JSON (libnftables-json(5)), without the elements of sets.

        Raises NftError.
        """
        return await self._run("-j", "-t", "list", "ruleset")

    async def ruleset_text(self) -> str:
        """Return all tables of everybody in nft's own language, without the elements of sets.

        Raises NftError.
        """
        return await self._run("-t", "list", "ruleset")

    async def transact(self, text: str) -> None:
        """Carry out a transaction that concerns no table of ours.

        Raises NftError; then nothing has changed.
        """
        await self._run("-f", "-", text=text)

    async def _listing(self, family: str, name: str) -> list[Any] | None:
        """Return what the table holds, in nft's own terms, or None where there is no such table."""
        try:
            text = await self._run("-j", "list", "table", family, name)
        except NftError as error:
            if _ABSENT in str(error):
                return None
            raise
        return [_lasting(item) for item in json.loads(text)["nftables"] if "metainfo" not in item]

    async def _run(self, *arguments: str, text: str | None = None) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                "nft", *arguments, stdin=DEVNULL if text is None else PIPE, stdout=PIPE, stderr=PIPE
            )
        except FileNotFoundError as error:
            raise NftError("the program nft is not there; install nftables (apt install nftables)") from error
        output, errors = await process.communicate(None if text is None else text.encode())
        if process.returncode != 0:
            raise NftError(f"nft {' '.join(arguments)}: {errors.decode(errors='replace').strip()}")
        return output.decode()


def _lasting(item: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(item, dict):
        return {key: _lasting(value) for key, value in item.items() if key not in _VOLATILE}
    return [_lasting(value) for value in item] if isinstance(item, list) else item


def _rules(listing: list[Any] | None) -> list[Any] | None:
    """Return a listing without the elements of sets."""
    if listing is None:
        return None
    return [
        {"set": {key: value for key, value in item["set"].items() if key != "elem"}} if "set" in item else item
        for item in listing
    ]


def _elements(listing: list[Any] | None) -> dict[str, frozenset[str]]:
    return {item["set"]["name"]: listed_elements(item["set"]) for item in listing or [] if "set" in item}


def _shields(listing: list[Any] | None) -> frozenset[str]:
    """Return the interfaces that have a chain."""
    names = (item["chain"]["name"] for item in listing or [] if "chain" in item)
    return frozenset(interface for name in names if (interface := shielded_interface(name)) is not None)


def _intact_shields(listing: list[Any] | None) -> frozenset[str]:
    """Return the interfaces whose chain drops everything, without a rule that could make an exception."""
    items = listing or []
    with_rules = {item["rule"]["chain"] for item in items if "rule" in item}
    chains = (item["chain"] for item in items if "chain" in item)
    names = (chain["name"] for chain in chains if chain.get("policy") == "drop" and chain["name"] not in with_rules)
    return frozenset(interface for name in names if (interface := shielded_interface(name)) is not None)
