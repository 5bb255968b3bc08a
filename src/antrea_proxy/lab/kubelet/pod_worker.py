"""One Pod on one Node, from its sandbox to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.resources import PODS
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.kubelet.cni import CniRuntime, Sandbox
from antrea_proxy.lab.kubelet.container_probes import ContainerProbes
from antrea_proxy.lab.kubelet.containers import PodFacts, environment_of, start_of
from antrea_proxy.lab.kubelet.status import ContainerState, PodReport, apply_report
from antrea_proxy.lab.places import Places
from antrea_proxy.lab.processes import Process, Spawner

JsonObject = dict[str, Any]
DEFAULT_GRACE_SECONDS = 30
FIRST_RETRY_SECONDS = 0.25
LAST_RETRY_SECONDS = 10.0
CRASH_SECONDS = 1.0
_LOG = logging.getLogger(__name__)
LAST_CRASH_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """What all Pods of a Node share."""

    node: str
    host_ips: tuple[str, ...]
    places: Places
    store: Store
    spawner: Spawner
    cni: CniRuntime
    events: EventRecorder


async def _cancelled(task: asyncio.Task[None] | None) -> None:
    """Cancel a task and wait for its end; what it failed with was reported when it did."""
    if task is not None:
        task.cancel()
        await asyncio.wait({task})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class PodWorker:
    """Brings a Pod up, keeps its status, takes it down; `run` is the whole life.

    `end` asks for the graceful end, `abandon` (the object is gone already) for the quick one.
    """

    def __init__(self, context: NodeContext, pod: JsonObject) -> None:
        self._context = context
        self._pod = pod
        metadata = pod["metadata"]
        self._namespace: str = metadata["namespace"]
        self._name: str = metadata["name"]
        self._uid: str = metadata["uid"]
        self._spec: JsonObject = pod["spec"]
        self._host_network = bool(self._spec.get("hostNetwork"))
        label = f"pod-{self._namespace}-{self._name}"[:180] + f"-{self._uid[:8]}"
        self._netns = context.places.netns(context.node if self._host_network else label)
        self._sandbox = Sandbox(
            container_id=self._uid.replace("-", ""),
            netns=self._netns,
            namespace=self._namespace,
            name=self._name,
            uid=self._uid,
        )
        self._wired = False
        self._sandbox_ready = False
        self._pod_ips: tuple[str, ...] = ()
        self._init = [self._state(container) for container in self._spec.get("initContainers") or ()]
        self._states = [self._state(container) for container in self._spec.get("containers") or ()]
        self._processes: dict[str, Process] = {}
        self._ending = asyncio.Event()
        self._hurry = asyncio.Event()
        self._adding: asyncio.Task[tuple[str, ...]] | None = None
        self._grace: float | None = None
        self._life: asyncio.Task[None] | None = None
        self._abandoned = False

    def end(self, grace: float) -> None:
        """Ask for the end within `grace` seconds; once asked, only 0 changes it."""
        if self._grace is None:
            self._grace = grace
        if grace == 0:
            self._hurry.set()
        self._ending.set()

    async def check_wiring(self) -> str:
        """Ask the CNI plugin whether the Pod is still wired as it was; gives what is wrong, or an empty text."""
        if self._host_network or not self._sandbox_ready or self._ending.is_set():
            return ""
        try:
            await self._context.cni.check(self._sandbox)
        except LabError as error:
            return f"the wiring of Pod {self._namespace}/{self._name} is broken: {error}"
        return ""

    def abandon(self) -> None:
        """End at once: nobody waits for this Pod any more."""
        self._abandoned = True
        self.end(0)

    async def run(self) -> None:
        """Live until the Pod's end has been asked for and is done."""
        self._begin()
        try:
            await self._ending.wait()
            await self._terminate()
        finally:
            await _cancelled(self._life)

    async def halt(self) -> None:
        """Lose what goes with the Node's power: the processes, and the sandbox's network namespace. Nobody is told."""
        await _cancelled(self._life)
        if self._adding is not None:
            await asyncio.wait({self._adding})
        for process in self._processes.values():
            process.signal(signal.SIGKILL)
            await process.wait()
        self._processes.clear()
        if not self._host_network:
            if self._netns.exists():
                await asyncio.to_thread(namespaces.kill_processes_in, [self._netns])
            await asyncio.to_thread(namespaces.delete_netns, [self._netns.name])

    async def boot(self) -> None:
        """Begin anew after `halt`, in a new sandbox: the runtime takes the former one away first, as far as it can."""
        if self._ending.is_set():
            return
        for state in (*self._init, *self._states):
            state.lose()
        self._sandbox_ready = False
        self._pod_ips = ()
        self._report()
        if self._wired:
            with contextlib.suppress(LabError):
                await self._context.cni.delete(self._sandbox)
            self._wired = False
        self._sandbox = replace(self._sandbox, container_id=uuid.uuid4().hex)
        self._begin()

    def _begin(self) -> None:
        self._life = asyncio.create_task(self._live(), name=f"pod {self._namespace}/{self._name}")
        self._life.add_done_callback(self._life_ended)

    def _life_ended(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (error := life.exception()) is not None:
            _LOG.error("Pod %s/%s", self._namespace, self._name, exc_info=error)
            self._event("Warning", "FailedSync", f"error syncing pod: {error!r}")

    # The life

    async def _live(self) -> None:
        self._report()
        if not self._host_network:
            await self._make_sandbox()
        else:
            self._pod_ips = self._context.host_ips
        self._link()
        self._sandbox_ready = True
        for container, state in zip(self._spec.get("initContainers") or (), self._init, strict=True):
            if not await self._run_init(container, state):
                self._report(failure=f"init container {state.name} exited with {state.exit_code}")
                return
        async with asyncio.TaskGroup() as containers:
            for index, (container, state) in enumerate(zip(self._spec["containers"], self._states, strict=True)):
                containers.create_task(self._keep_running(container, state, first=index == 0))

    async def _make_sandbox(self) -> None:
        await asyncio.to_thread(namespaces.create_netns, [self._netns.name])
        await asyncio.to_thread(namespaces.ip_in, self._netns.name, ["link set lo up"])
        delay = FIRST_RETRY_SECONDS
        while True:
            self._wired = True  # a failed ADD is followed by DEL, too (CNI specification, section 4)
            try:
                # Shielded: DEL must not overtake an ADD that the end of the Pod interrupts.
                self._adding = asyncio.create_task(self._context.cni.add(self._sandbox))
                self._pod_ips = await asyncio.shield(self._adding)
            except LabError as error:
                self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
                with contextlib.suppress(LabError):
                    await self._context.cni.delete(self._sandbox)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LAST_RETRY_SECONDS)
            else:
                return

    def _link(self) -> None:
        link = self._context.places.pod_link(self._namespace, self._name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self._netns)

    async def _run_init(self, container: JsonObject, state: ContainerState) -> bool:
        while True:
            process = await self._start(container, state, first=False)
            if process is not None:
                self._report()
                self._ended(state, await process.wait())
                self._report()
                if state.exit_code == 0:
                    state.ready = True
                    return True
            if self._spec.get("restartPolicy") == "Never":
                return False
            await self._back_off(state)

    async def _keep_running(self, container: JsonObject, state: ContainerState, *, first: bool) -> None:
        while True:
            process = await self._start(container, state, first=first)
            if process is not None:
                watching = self._watch_probes(container, state, process)
                self._report()
                try:
                    code = await process.wait()
                finally:
                    watching.cancel()
                state.ready = False
                self._ended(state, code)
                self._report()
            policy = self._spec.get("restartPolicy") or "Always"
            if self._ending.is_set() or policy == "Never" or (policy == "OnFailure" and state.exit_code == 0):
                return
            await self._back_off(state)

    async def _back_off(self, state: ContainerState) -> None:
        if state.exit_code is not None:
            state.last = state.terminated()
        # The first restart comes at once, as the kubelet's does.
        delay = min(CRASH_SECONDS * 2 ** (state.restarts - 1), LAST_CRASH_SECONDS) if state.restarts else 0.0
        if delay:
            state.waiting = "CrashLoopBackOff"
            state.message = f"back-off {delay:g}s restarting container {state.name}"
            self._event("Warning", "BackOff", f"Back-off restarting failed container {state.name}")
            self._report()
            await asyncio.sleep(delay)
        state.restarts += 1

    async def _start(self, container: JsonObject, state: ContainerState, *, first: bool) -> Process | None:
        logs = self._context.places.pod_logs
        logs.mkdir(parents=True, exist_ok=True)
        try:
            start = start_of(container, self._facts(), first=first)
            with (logs / f"{self._namespace}_{self._name}_{state.name}.log").open("ab") as output:
                process = await self._context.spawner.start(start, output=output.fileno())
        except (LabError, ValueError) as error:
            state.waiting, state.message, state.exit_code = "RunContainerError", str(error), 128
            state.started_at = state.finished_at = _now()
            self._event("Warning", "Failed", f"Error: {error}")
            self._report()
            return None
        self._processes[state.name] = process
        state.waiting = state.message = ""
        state.exit_code = None
        state.started_at, state.finished_at = _now(), ""
        state.ready = not (container.get("readinessProbe") or container.get("startupProbe"))
        self._event("Normal", "Started", f"Started container {state.name}")
        return process

    def _ended(self, state: ContainerState, code: int) -> None:
        state.exit_code = code
        state.finished_at = _now()
        self._processes.pop(state.name, None)

    # Probes

    def _watch_probes(self, container: JsonObject, state: ContainerState, process: Process) -> asyncio.Task[None]:
        async def run_command(command: Sequence[str], seconds: float) -> int:
            done = await self._context.spawner.run(
                command,
                netns=self._netns,
                environment=environment_of(container.get("env") or (), self._facts()),
                seconds=seconds,
            )
            return done.status

        def set_ready(value: bool) -> None:  # noqa: FBT001 - the probe's answer
            if state.ready != value and process.running:
                state.ready = value
                self._report()

        probes = ContainerProbes(
            container=container,
            netns=self._netns,
            address=self._pod_ips[0] if self._pod_ips else "127.0.0.1",
            run_command=run_command,
            set_ready=set_ready,
            kill=lambda: self._kill_unhealthy(process),
            complain=lambda message: self._event("Warning", "Unhealthy", message),
        )
        return asyncio.create_task(probes.run())

    def _kill_unhealthy(self, process: Process) -> None:
        process.signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._own_grace(), process.signal, signal.SIGKILL)

    # The end

    def _own_grace(self) -> float:
        value = self._spec.get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE_SECONDS if value is None else float(value)

    async def _terminate(self) -> None:
        if self._processes and self._grace:
            self._event("Normal", "Killing", "Stopping container " + ", ".join(self._processes))
            graceful = asyncio.create_task(self._stop_gracefully())
            hurry = asyncio.create_task(self._hurry.wait())
            await asyncio.wait({graceful, hurry}, timeout=self._grace, return_when=asyncio.FIRST_COMPLETED)
            for task in (graceful, hurry):
                task.cancel()
        processes = list(self._processes.values())
        await _cancelled(self._life)
        for process in processes:
            process.signal(signal.SIGKILL)
        for process in processes:
            await process.wait()
        await self._remove_sandbox()
        if not self._abandoned:
            with contextlib.suppress(ApiError):
                self._context.store.delete(PODS, self._namespace, self._name, grace_period_seconds=0, uid=self._uid)

    async def _stop_gracefully(self) -> None:
        await self._pre_stop()
        processes = list(self._processes.values())
        for process in processes:
            process.signal(signal.SIGTERM)
        for process in processes:
            await process.wait()

    async def _pre_stop(self) -> None:
        for container in self._spec["containers"]:
            hook = (container.get("lifecycle") or {}).get("preStop") or {}
            if "sleep" in hook:
                await asyncio.sleep(hook["sleep"].get("seconds") or 0)
            elif "exec" in hook:
                with contextlib.suppress(LabError):
                    await self._context.spawner.run(
                        hook["exec"].get("command") or (),
                        netns=self._netns,
                        environment=environment_of(container.get("env") or (), self._facts()),
                        seconds=self._own_grace(),
                    )

    async def _remove_sandbox(self) -> None:
        link = self._context.places.pod_link(self._namespace, self._name)
        with contextlib.suppress(OSError):
            if link.readlink() == self._netns and not self._replaced():
                link.unlink()
        for log in self._context.places.pod_logs.glob(f"{self._namespace}_{self._name}_*.log"):
            log.unlink(missing_ok=True)
        if self._host_network:
            return
        if self._netns.exists():
            await asyncio.to_thread(namespaces.kill_processes_in, [self._netns])
        if self._adding is not None:
            await asyncio.wait({self._adding})
        delay = FIRST_RETRY_SECONDS
        while self._wired:
            try:
                await self._context.cni.delete(self._sandbox)
                break
            except LabError as error:
                self._event("Warning", "FailedKillPod", f"error killing pod: {error}")
                if delay > LAST_RETRY_SECONDS / 2:
                    break  # the netns goes now; what the agent still keeps, GC releases
                await asyncio.sleep(delay)
                delay *= 2
        await asyncio.to_thread(namespaces.delete_netns, [self._netns.name])

    def _replaced(self) -> bool:
        try:
            return self._context.store.record(PODS, self._namespace, self._name).uid != self._uid
        except ApiError:
            return False

    # Telling

    def _state(self, container: JsonObject) -> ContainerState:
        return ContainerState(name=container["name"], image=container.get("image") or "")

    def _facts(self) -> PodFacts:
        metadata = self._pod["metadata"]
        return PodFacts(
            namespace=self._namespace,
            name=self._name,
            uid=self._uid,
            node=self._context.node,
            host_ips=self._context.host_ips,
            pod_ips=self._pod_ips,
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            netns=str(self._netns),
            hostname=self._context.node if self._host_network else str(self._spec.get("hostname") or self._name),
        )

    def _report(self, *, failure: str = "") -> None:
        report = PodReport(
            uid=self._uid,
            host_ips=self._context.host_ips,
            pod_ips=self._pod_ips,
            sandbox=self._sandbox_ready,
            restart_policy=self._spec.get("restartPolicy") or "Always",
            init=self._init,
            containers=self._states,
            failure=failure,
        )

        def change(pod: JsonObject) -> None:
            apply_report(pod.setdefault("status", {}), report, now=_now())

        self._write_status(change)

    def _write_status(self, change: Callable[[JsonObject], None]) -> None:
        # Gone, or another of the same name: then nobody waits for this one's status.
        with contextlib.suppress(ApiError):
            if self._context.store.record(PODS, self._namespace, self._name).uid == self._uid:
                self._context.store.modify(PODS, self._namespace, self._name, change, subresource="status")

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._context.events.record(
            PODS, self._pod, kind=kind, reason=reason, message=message, component="kubelet", host=self._context.node
        )
