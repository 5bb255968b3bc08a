"""The agent of a Node as a process: started with the cluster's configuration, started again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.kubelet.cni import CniRuntime
from antrea_proxy.lab.places import NodePlaces
from antrea_proxy.lab.processes import Process, Spawner
from antrea_proxy.lab.spawner import Start

STOP_SECONDS = 10.0
READY_SECONDS = 180.0
"""A few in truth; an emulated machine takes a minute to import what an agent needs."""
_POLL_SECONDS = 0.05
_FIRST_BACK_OFF = 0.5
_LAST_BACK_OFF = 30.0
_TAIL_LINES = 12


def own_program(name: str) -> Path:
    """Find a command of this installation: beside the running interpreter, else by PATH.

    Raises LabError where it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    found = shutil.which(name)
    if found is None:
        raise LabError(f"the command {name} is neither beside {sys.executable} nor in PATH: run script/setup")
    return Path(found)


class AgentProcess:
    """Keeps one agent running. `write_config` is called before every start and says what was overridden.

    `program` is the command antrea-proxy that is started; another one takes its place with a restart.
    """

    def __init__(
        self,
        *,
        spawner: Spawner,
        node: str,
        netns: Path,
        places: NodePlaces,
        cni: CniRuntime,
        write_config: Callable[[], tuple[str, ...]],
    ) -> None:
        self._spawner = spawner
        self._node = node
        self._netns = netns
        self._places = places
        self._cni = cni
        self._write_config = write_config
        self.program = own_program("antrea-proxy")
        self._process: Process | None = None
        self._supervision: asyncio.Task[None] | None = None
        self.crashes = 0
        self.last_problem = ""
        self.ready = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id, or None while no agent runs."""
        return self._process.pid if self._process is not None and self._process.running else None

    async def start(self) -> tuple[str, ...]:
        """Start and wait until Pods can be wired; gives the configuration keys that were overridden.

        Raises LabError with the end of the agent's log where it ends before that or takes over `READY_SECONDS`.
        """
        overridden = await self._launch()
        await self._wait_until_ready()
        self._supervision = asyncio.create_task(self._supervise(), name=f"agent of {self._node}")
        return overridden

    async def restart(self, *, kill: bool) -> tuple[str, ...]:
        """Stop, with SIGKILL where `kill`, and start with the configuration as it is now.

        Raises LabError as `start` does; the agent is then tried again in the background.
        """
        await self.stop(kill=kill)
        try:
            return await self.start()
        except LabError:
            self._supervision = asyncio.create_task(self._supervise(), name=f"agent of {self._node}")
            raise

    async def stop(self, *, kill: bool = False) -> None:
        """Stop it and keep it stopped; the data path stays as it is."""
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait({self._supervision})
            self._supervision = None
        self.ready.clear()
        if self._process is not None and self._process.running:
            if kill:
                self._process.signal(signal.SIGKILL)
                await self._process.wait()
            else:
                await self._process.stop(grace=STOP_SECONDS)

    def tail(self) -> str:
        """Give the last lines of the agent's log."""
        with contextlib.suppress(OSError):
            lines = self._places.agent_log.read_text(errors="replace").splitlines()
            return "\n".join(lines[-_TAIL_LINES:])
        return ""

    async def _launch(self) -> tuple[str, ...]:
        overridden = self._write_config()
        self._places.cni_socket.parent.mkdir(parents=True, exist_ok=True)
        argv = (
            *(str(self.program), "agent"),
            *("--config", str(self._places.agent_config)),
            *("--node-name", self._node),
            *("--kubeconfig", str(self._places.kubeconfig)),
        )
        with self._places.agent_log.open("ab") as output:
            self._process = await self._spawner.start(
                Start(argv=argv, netns=str(self._netns), hostname=self._node, environment=dict(os.environ)),
                output=output.fileno(),
            )
        return overridden

    async def _wait_until_ready(self) -> None:
        process = self._process
        problem = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                while process is not None and process.running:
                    if await self._accepts_connections():
                        try:
                            await self._cni.ready()
                        except LabError as error:
                            problem = str(error)
                        else:
                            self.ready.set()
                            return
                    await asyncio.sleep(_POLL_SECONDS)
        if process is not None and process.running:
            why = f"cannot wire Pods after {READY_SECONDS:g} s: {problem or 'it does not listen for the CNI plugin'}"
        else:
            why = f"ended with status {await process.wait() if process is not None else '?'}"
        raise LabError(f"the agent of {self._node} {why}; the end of its log:\n{self.tail()}")

    async def _accepts_connections(self) -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(self._places.cni_socket)
        except OSError:
            return False
        writer.close()
        return True

    async def _supervise(self) -> None:
        delay = _FIRST_BACK_OFF
        while True:
            if self._process is not None and self._process.running:
                code = await self._process.wait()
                self.ready.clear()
                self.crashes += 1
                self.last_problem = f"ended by itself with status {code}"
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_BACK_OFF)
            try:
                await self._launch()
                await self._wait_until_ready()
            except LabError as error:
                self.last_problem = str(error)
            else:
                delay = _FIRST_BACK_OFF
