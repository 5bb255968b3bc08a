"""Where a lab keeps its things and what they are called: one scheme, from which `lab down` finds everything again.

The standard library alone: `lab exec` imports this and must start in a few milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from antrea_proxy.lab.errors import LabError

STATE_ROOT = Path("/run/antrea-lab")
NETNS_ROOT = Path("/run/netns")
DEFAULT_NAME = "lab"
_NAME = re.compile(r"[a-z0-9]([a-z0-9]|_(?!$))*")
_UNIX_PATH_MAX = 107  # sockaddr_un.sun_path less its final zero, unix(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlaces:
    """The files of one Node."""

    directory: Path

    @property
    def ovs(self) -> Path:
        """OVS_RUNDIR of the Node's own switch: db.sock, control sockets, logs."""
        return self.directory / "ovs"

    @property
    def cni_socket(self) -> Path:
        """The agent's socket for the CNI plugin; its folder is the agent's run directory."""
        return self.directory / "agent" / "cni.sock"

    @property
    def agent_config(self) -> Path:
        """The antrea-agent.conf that the Node's agent was last started with."""
        return self.directory / "antrea-agent.conf"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that reaches the API server over the underlay."""
        return self.directory / "kubeconfig"

    @property
    def agent_log(self) -> Path:
        """What the agent wrote, over all its starts."""
        return self.directory / "agent.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Every path and network namespace of the lab called `name`.

    The name is of lower-case letters, digits and single underscores: no hyphen, so that `antrea-a-…` never
    belongs to two labs.
    """

    name: str = DEFAULT_NAME
    state_root: Path = STATE_ROOT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(
                f"--name {self.name!r} is no name for a lab: use lower-case letters, digits and _ between them"
            )
        if len(str(self.node("node-999").ovs / "ovs-vswitchd.ctl")) > _UNIX_PATH_MAX:
            raise LabError(f"--name {self.name!r} is too long: its sockets' paths would pass {_UNIX_PATH_MAX} bytes")

    @property
    def directory(self) -> Path:
        """The lab's folder; it is there exactly while a lab, or what is left of one, is there."""
        return self.state_root / self.name

    @property
    def control_socket(self) -> Path:
        """Where the daemon answers the verbs."""
        return self.directory / "lab.sock"

    @property
    def daemon_pid(self) -> Path:
        """The daemon's process id and start time, for `lab down`."""
        return self.directory / "daemon.pid"

    @property
    def daemon_log(self) -> Path:
        """What the daemon wrote: the control plane's and the supervisor's words."""
        return self.directory / "daemon.log"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig for this machine's kubectl."""
        return self.directory / "kubeconfig"

    @property
    def pods(self) -> Path:
        """One symbolic link a running Pod, `NAMESPACE_NAME` -> its network namespace, for `lab exec`."""
        return self.directory / "pods"

    @property
    def pod_logs(self) -> Path:
        """One file a container: what it wrote."""
        return self.directory / "pod-logs"

    @property
    def netns_prefix(self) -> str:
        """What the names of all network namespaces of this lab, and of no other, begin with."""
        return f"antrea-{self.name}-"

    def node(self, node: str) -> NodePlaces:
        """The files of a Node."""
        return NodePlaces(directory=self.directory / node)

    def netns(self, host: str) -> Path:
        """The network namespace of a host: `underlay`, `node-1`, `client-1` or a Pod's."""
        return NETNS_ROOT / (self.netns_prefix + host)

    def pod_link(self, namespace: str, pod: str) -> Path:
        """The link that leads from a Pod's name to its network namespace."""
        return self.pods / f"{namespace}_{pod}"

    def netns_present(self) -> list[str]:
        """Names of the lab's network namespaces that exist now."""
        if not NETNS_ROOT.is_dir():
            return []
        return sorted(entry.name for entry in NETNS_ROOT.iterdir() if entry.name.startswith(self.netns_prefix))
