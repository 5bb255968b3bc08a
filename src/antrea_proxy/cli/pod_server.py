"""`antrea-proxy pod-server`: what a Pod of the lab runs where it has no command, for use by hand.

The standard library alone, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from antrea_proxy.lab.pod_server import run
from antrea_proxy.lab.pod_server_arguments import parse_arguments


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or /shutdown; returns the exit code: 1 where a port cannot be had, 2 for wrong usage."""
    try:
        options = parse_arguments(arguments, hostname=socket.gethostname())
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        run(options)
    except OSError as error:
        ports = ", ".join(str(port) for port in {*options.tcp_ports, *options.udp_ports, *options.sctp_ports})
        sys.stderr.write(f"error: pod-server cannot listen on {ports}: {error.strerror}\n")
        return 1
    return 0
