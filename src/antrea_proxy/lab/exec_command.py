"""`antrea-proxy lab exec`: run a command in the network namespace of a Pod, a Node or a client.

Becomes the command (no daemon is asked, no child is waited for), so its exit code, its signals and its terminal are the
command's own. The standard library alone: it starts in a few tens of milliseconds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.control_socket import no_lab_message
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.places import DEFAULT_NAME, Places

USAGE = """\
antrea-proxy lab exec POD [-n NAMESPACE] -- CMD...
       antrea-proxy lab exec --node NODE -- CMD...
       antrea-proxy lab exec --client [NAME] -- CMD..."""
EXAMPLES = """\
examples:
  antrea-proxy lab exec web-5d9f -- curl -s http://10.96.1.0/hostname
  antrea-proxy lab exec web-5d9f -n shop -- ip address
  antrea-proxy lab exec --node node-1 -- ovs-ofctl dump-flows br-int
  antrea-proxy lab exec --client -- curl -s http://172.30.0.1/

The exit code is CMD's; 1 where there is no such place, 2 for wrong usage, 126 and 127 as a shell's.
"""
_CANNOT_RUN, _NOT_FOUND = 126, 127


class _UsageError(Exception):
    """Wrong usage: exit code 2."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def main(arguments: Sequence[str], name: str | None) -> int:
    """Run `lab exec`; returns only where the command could not be started."""
    try:
        return _main(arguments, name)
    except _UsageError as error:
        sys.stderr.write(f"error: {error}\nusage: {USAGE}\n")
        return 2
    except LabError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _main(arguments: Sequence[str], name: str | None) -> int:
    parser = _Parser(
        prog="antrea-proxy lab exec",
        usage=USAGE,
        description="Run a command in the network namespace of a Pod, of a Node, or of a host outside of the cluster.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pod", nargs="?", metavar="POD", help="the Pod's name")
    parser.add_argument("-n", "--namespace", default="default", help="the Pod's namespace (default)")
    parser.add_argument("--node", metavar="NODE", help="be a Node: its name, such as node-1")
    parser.add_argument("--client", nargs="?", const="client-1", metavar="NAME", help="be a client (client-1)")
    words = list(arguments)
    where = words.index("--") if "--" in words else len(words)
    parsed = parser.parse_args(words[:where])
    command = words[where + 1 :]
    if sum(value is not None for value in (parsed.pod, parsed.node, parsed.client)) != 1:
        raise _UsageError("name one place: a POD, --node NODE or --client [NAME]")
    if not command:
        raise _UsageError("give a command after --")
    places = Places(name=name if name is not None else DEFAULT_NAME)
    if parsed.pod is not None:
        netns, hostname = pod_netns(places, parsed.namespace, parsed.pod), parsed.pod
    else:
        hostname = parsed.node or parsed.client
        netns = host_netns(places, hostname, "Node" if parsed.node else "client")
    if os.geteuid() != 0:
        raise LabError("entering a network namespace needs root: run it with sudo")
    environment = dict(os.environ)
    if parsed.node is not None:
        environment |= node_environment(places, parsed.node)
    return _become(netns, hostname, command, environment)


def pod_netns(places: Places, namespace: str, pod: str) -> Path:
    """Find a Pod's network namespace.

    Raises LabError naming the Pods that there are.
    """
    link = places.pod_link(namespace, pod)
    try:
        return link.readlink()
    except OSError:
        pass
    if not places.directory.exists():
        raise LabError(no_lab_message(places))
    there = sorted(
        entry.name.partition("_")[2]
        for entry in (places.pods.iterdir() if places.pods.is_dir() else ())
        if entry.name.startswith(f"{namespace}_")
    )
    known = f"running there: {', '.join(there)}" if there else "none runs there"
    raise LabError(f"no Pod {pod!r} runs in namespace {namespace!r}; {known}")


def host_netns(places: Places, host: str, kind: str) -> Path:
    """Find the network namespace of a Node or a client.

    Raises LabError naming those that there are.
    """
    prefix = places.netns_prefix + ("node-" if kind == "Node" else "client-")
    present = [entry.removeprefix(places.netns_prefix) for entry in places.netns_present() if entry.startswith(prefix)]
    if host in present:
        return places.netns(host)
    if not places.directory.exists():
        raise LabError(no_lab_message(places))
    raise LabError(f"there is no {kind} {host!r}; there are {', '.join(present) or 'none'}")


def node_environment(places: Places, node: str) -> dict[str, str]:
    """Give the variables by which tools find the Node's own switch and agent."""
    files = places.node(node)
    return {
        "OVS_RUNDIR": str(files.ovs),
        "OVS_DBDIR": str(files.ovs),
        "OVS_LOGDIR": str(files.ovs),
        "ANTREA_PROXY_SOCKET": str(files.cni_socket.with_name("api.sock")),
        "KUBECONFIG": str(files.kubeconfig),
        "NODE_NAME": node,
    }


def _become(netns: Path, hostname: str, command: Sequence[str], environment: dict[str, str]) -> int:
    try:
        namespaces.setns(netns, namespaces.CLONE_NEWNET)
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        namespaces.set_hostname(hostname)
        namespaces.remount_sys()
    except OSError as error:
        raise LabError(f"{hostname} cannot be entered: {error}") from error
    sys.stdout.flush()
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - no shell is meant
    except FileNotFoundError:
        sys.stderr.write(f"error: {command[0]}: command not found\n")
        return _NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"error: {command[0]}: {error.strerror}\n")
        return _CANNOT_RUN
