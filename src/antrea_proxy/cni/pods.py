"""The Pods of this Node and the operations on them: ADD, DEL, CHECK, GC, STATUS, and the start after an earlier run.

The lease names everything that an ADD is about to make and is on the disk first; it is released last. So whatever a
crash or a failed undo leaves behind is found again by `restore`, by the next ADD or DEL, or by GC.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from antrea_proxy.cni.attachment import (
    Attachment,
    UnreadablePortError,
    differences,
    host_interface_name,
    new_attachment,
    read_attachment,
)
from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.concurrency import KeyedLocks, uninterrupted
from antrea_proxy.cni.errors import CniError, NotAvailableError, TryAgainLaterError, WiringError
from antrea_proxy.cni.ipam import AddressPool
from antrea_proxy.cni.port_numbers import PortNumbers
from antrea_proxy.cni.protocol import AttachmentKey, Dns, Result
from antrea_proxy.cni.state_file import StateFileError
from antrea_proxy.cni.wires import PodWires
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.values import IPAddress

FLOWS_TIMEOUT_S = 30.0
"""How long an ADD waits for the Pod's flows, and a DEL for their removal: below the plugin's own limit of 90 s."""

_NOT_RESTORED = "the antrea-proxy agent has not read the switch's ports yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was found at start: Pods that are wired, what was removed as its Pod is gone, what could not be read."""

    pods: tuple[PodInterface, ...]
    removed: tuple[str, ...]
    problems: tuple[str, ...]


class PodWiring:
    """The Pods of this Node. Operations of one container run one after another, those of others beside them.

    `wired` resolves once the Pod's flows are in the switch, `unwired` once they are gone; both may be called again with
    the same Pod. `ready` says why the agent cannot serve Pods at present, or None. `mtu` is that of Pods, in bytes.
    Every operation raises CniError.
    """

    def __init__(
        self,
        *,
        wires: PodWires,
        pool: AddressPool,
        mtu: Callable[[], int],
        wired: Callable[[PodInterface], Awaitable[None]],
        unwired: Callable[[PodInterface], Awaitable[None]],
        ready: Callable[[], str | None],
        flows_timeout_s: float = FLOWS_TIMEOUT_S,
    ) -> None:
        self._wires = wires
        self._pool = pool
        self._mtu = mtu
        self._wired = wired
        self._unwired = unwired
        self._ready = ready
        self._flows_timeout_s = flows_timeout_s
        self._locks = KeyedLocks()
        self._numbers = PortNumbers()
        self._attached: dict[AttachmentKey, Attachment] = {}
        self._complete: set[AttachmentKey] = set()
        self._restored = False

    @property
    def pods(self) -> tuple[PodInterface, ...]:
        """The Pods that are wired completely."""
        return tuple(each.pod for key, each in self._attached.items() if key in self._complete)

    async def restore(self) -> Restored:
        """Make this object agree with the switch's ports; call it once, before any operation.

        Ports whose veth is gone and leases without a port are removed, with what an interrupted ADD or DEL left.
        """
        malformed = self._pool.load()
        problems = [] if malformed is None else [malformed]
        removed: dict[str, str] = {}
        kept = set()
        for port in await self._wires.ports():
            try:
                attachment = read_attachment(port)
                reason = None if attachment is None else await self._reason_to_remove(attachment)
                if attachment is None:
                    continue
                if reason is not None:
                    await self._wires.remove(port.name)
                    removed[port.name] = f"{attachment}: {reason}"
                    continue
                kept.add(port.name)
                self._attached[attachment.key] = attachment
                self._attached[attachment.key] = await self._wires.connect(attachment)
                self._complete.add(attachment.key)
            except (UnreadablePortError, WiringError) as error:
                kept.add(port.name)
                problems.append(error.message)
        leases = {key: attachment.lease for key, attachment in self._attached.items()}
        for key, lease in self._pool.leases.items():
            if lease.host_interface in kept:
                leases.setdefault(key, lease)  # of an unreadable port: a DEL finds and removes it by this lease
            elif lease.host_interface not in removed:
                await self._wires.remove(lease.host_interface)
                removed[lease.host_interface] = f"the lease of {key}, which has no port {lease.host_interface}"
        try:
            await self._pool.replace(leases.values())
        except StateFileError as error:
            problems.append(error.message)
        self._numbers.continue_after(each.pod.ofport for each in self._attached.values())
        self._restored = True
        return Restored(pods=self.pods, removed=tuple(removed.values()), problems=tuple(problems))

    async def add(self, *, key: AttachmentKey, netns: str, pod: NamespacedName, dns: Dns) -> Result:
        """Wire a Pod's sandbox; when it returns, the Pod's flows are in the switch.

        The same again answers the same. After a failure nothing is left, or what is left is removed by the next
        ADD, DEL or GC, and the message says so.
        """
        self._require_restored()
        async with self._locks.hold(key.container_id):
            self._require_same_sandbox(key, netns, pod)
            existing = self._attached.get(key)
            if existing is not None and key in self._complete and not await self._faults(existing):
                return existing.result(dns)
            await self._dismantle(key)
            try:
                attachment = await self._attach(key, netns, pod)
            except BaseException as error:
                await self._roll_back(key, error)
                raise
            return attachment.result(dns)

    async def delete(self, *, key: AttachmentKey) -> None:
        """Remove an attachment with all it has; one that is unknown, or whose namespace is gone, is no error."""
        self._require_restored()
        async with self._locks.hold(key.container_id):
            await self._dismantle(key)

    async def check(self, *, key: AttachmentKey, netns: str, expected: Result) -> None:
        """Compare the attachment with the result of its ADD and with what the kernel and the switch hold.

        The error names all that differs.
        """
        self._require_restored()
        async with self._locks.hold(key.container_id):
            attachment = self._attached.get(key)
            if attachment is None or key not in self._complete:
                raise CniError(ErrorCode.UNKNOWN_CONTAINER, f"{key} is not attached on this Node")
            found = []
            if attachment.pod.netns != netns:
                found.append(f"CNI_NETNS is {netns}, {key} was attached in {attachment.pod.netns}")
            found += differences(expected, attachment)
            found += await self._faults(attachment)
        if found:
            raise CniError(ErrorCode.STATE_DIFFERS, f"{attachment} is not as it was wired: {'; '.join(found)}")

    async def collect_garbage(self, valid: frozenset[AttachmentKey]) -> tuple[AttachmentKey, ...]:
        """Remove all attachments but these, and but those with an operation under way; returns what it removed.

        What cannot be removed does not keep the rest from it: the error names all of it at the end.
        """
        self._require_restored()
        known = {*self._attached, *self._pool.leases} - valid
        unused = sorted(key for key in known if not self._locks.busy(key.container_id))
        failed = []
        for key in unused:
            try:
                await self.delete(key=key)
            except CniError as error:
                failed.append(f"{key}: {error.message}")
        if failed:
            raise CniError(
                ErrorCode.CLEANUP_INCOMPLETE, f"{len(failed)} attachments could not be removed: {'; '.join(failed)}"
            )
        return tuple(unused)

    async def status(self) -> None:
        """Return when an ADD can succeed.

        Raises NotAvailableError with the reason why none can.
        """
        if not self._restored:
            raise NotAvailableError(_NOT_RESTORED)
        reason = self._ready()
        if reason is not None:
            raise NotAvailableError(reason)
        if not self._pool.cidrs:
            raise NotAvailableError("this Node has no podCIDR yet")
        try:
            await self._pool.save_rest()
        except StateFileError as error:
            raise NotAvailableError(error.message) from error

    def _require_restored(self) -> None:
        if not self._restored:
            raise TryAgainLaterError(_NOT_RESTORED)

    def _require_same_sandbox(self, key: AttachmentKey, netns: str, pod: NamespacedName) -> None:
        for other in self._complete:
            attachment = self._attached[other]
            wired = attachment.pod
            same = wired.netns == netns and (wired.namespace, wired.name) == pod
            if other.container_id == key.container_id and not same:
                raise CniError(
                    ErrorCode.ATTACHED_OTHERWISE,
                    f"container {key.container_id} is attached already, as {attachment} in {wired.netns}, "
                    f"not as Pod {pod} in {netns}: DEL it first",
                )

    async def _reason_to_remove(self, attachment: Attachment) -> str | None:
        """Say why a port found at start cannot stay, or None."""
        if not await self._wires.exists(attachment.pod.host_interface):
            return "its interface is gone"
        if attachment.key in self._attached:
            return f"{attachment.key} has port {self._attached[attachment.key].pod.host_interface} too"
        held: dict[IPAddress, Attachment] = {
            address.ip: other for other in self._attached.values() for address in other.addresses
        }
        double = [f"{each.ip} is held by {held[each.ip]} too" for each in attachment.addresses if each.ip in held]
        return "; ".join(double) or None

    async def _attach(self, key: AttachmentKey, netns: str, pod: NamespacedName) -> Attachment:
        taken = {each.host_interface for each in self._pool.leases.values()}
        lease = await self._pool.allocate(key, host_interface_name(pod.name, key, taken))
        number = self._numbers.next(each.pod.ofport for each in self._attached.values())
        plan = new_attachment(pod=pod, lease=lease, netns=netns, mtu=self._mtu(), ofport=number)
        attachment = await self._wires.make(plan)
        self._attached[key] = attachment
        await self._within(self._wired(attachment.pod), f"the flows of {attachment} are not in the switch")
        self._complete.add(key)
        return attachment

    async def _roll_back(self, key: AttachmentKey, error: BaseException) -> None:
        try:
            await uninterrupted(self._dismantle(key))
        except CniError as undoing:
            rest = f"what it made is not all undone ({undoing.message}): the next ADD, DEL or GC of {key} removes it"
            if isinstance(error, CniError):
                error.message = f"{error.message}; {rest}"
            else:
                error.add_note(rest)

    async def _dismantle(self, key: AttachmentKey) -> None:
        """Remove whatever there is of an attachment, its addresses last; the first step that fails ends it."""
        attachment, lease = self._attached.get(key), self._pool.leases.get(key)
        self._complete.discard(key)
        if attachment is not None:
            await self._within(self._unwired(attachment.pod), f"the flows of {attachment} are still in the switch")
            await self._wires.remove(attachment.pod.host_interface)
            del self._attached[key]
        elif lease is not None:
            await self._wires.remove(lease.host_interface)
        await self._pool.release(key)

    async def _faults(self, attachment: Attachment) -> list[str]:
        found = await self._wires.faults(attachment)
        if self._pool.leases.get(attachment.key) != attachment.lease:
            found.append("its addresses are not reserved")
        return found

    async def _within(self, work: Awaitable[None], late: str) -> None:
        try:
            async with asyncio.timeout(self._flows_timeout_s):
                await work
        except TimeoutError as error:
            raise TryAgainLaterError(f"{late} after {self._flows_timeout_s:g} s: is ovs-vswitchd running?") from error
