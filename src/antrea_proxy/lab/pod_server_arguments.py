"""The pod-server's command line, for `antrea-proxy pod-server` and for the `args` of containers. Pure.

The standard library alone, since the former is what a Pod may run many times.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from antrea_proxy.lab.pod_server import DEFAULT_DRAIN_SECONDS, DEFAULT_PORT, PodServerOptions

_EXAMPLES = """\
examples:
  antrea-proxy pod-server --port 8080
  antrea-proxy pod-server --port 80 --port 8080 --udp-port 53
  antrea-proxy pod-server --port 80 --sctp --drain 30
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"pod-server: {message}; see `antrea-proxy pod-server --help`")


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - the range of ports
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:  # noqa: PLR2004 - a day
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 0 to 86400 s")
    return value


def parse_arguments(arguments: Sequence[str], *, hostname: str) -> PodServerOptions:
    """Read the command line; `hostname` is what the server calls itself unless it is told otherwise.

    Raises ValueError with the reason for arguments that are wrong, and SystemExit (0) for --help.
    """
    parser = _Parser(
        prog="antrea-proxy pod-server",
        description="Answer as agnhost's netexec: HTTP on TCP (/hostname /clientip /echo?msg= /healthz /bytes?n= "
        "/sleep?s= /shutdown), one line in and one out on UDP and SCTP (hostname, clientip, echo TEXT).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, action="append", help=f"TCP port, several times too ({DEFAULT_PORT})")
    parser.add_argument("--udp-port", type=_port, action="append", help="UDP port, several times too (those of --port)")
    parser.add_argument("--sctp", action="store_true", help="SCTP on the ports of --port, too")
    parser.add_argument("--sctp-port", type=_port, action="append", default=[], help="SCTP port, several times too")
    parser.add_argument("--hostname", default=hostname, help=f"what /hostname answers ({hostname})")
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=DEFAULT_DRAIN_SECONDS,
        metavar="SECONDS",
        help=f"after SIGTERM, go on serving for this long ({DEFAULT_DRAIN_SECONDS:g})",
    )
    parsed = parser.parse_args(arguments)
    ports = tuple(parsed.port or [DEFAULT_PORT])
    return PodServerOptions(
        hostname=parsed.hostname,
        tcp_ports=ports,
        udp_ports=tuple(parsed.udp_port or ports),
        sctp_ports=tuple(parsed.sctp_port) or (ports if parsed.sctp else ()),
        drain_seconds=parsed.drain,
    )
