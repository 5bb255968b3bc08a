"""Runs the API server alone, without controllers: `python -m antrea_proxy.lab.api_server --kubeconfig-out FILE`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from antrea_proxy.lab.api_server.server import ApiServer
from antrea_proxy.lab.api_server.store import Store


async def _serve(host: str, port: int, kubeconfig_out: Path | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = ApiServer(Store(), names=[host])
    await server.start(host, port)
    try:
        if kubeconfig_out is not None:
            server.write_kubeconfig(kubeconfig_out)
        sys.stdout.write(f"ready: {server.url}\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await server.stop()


def main() -> None:
    """Read the command line and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m antrea_proxy.lab.api_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="TCP port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--kubeconfig-out", type=Path, help="where to write a kubeconfig for the administrator")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.host, arguments.port, arguments.kubeconfig_out))


if __name__ == "__main__":
    main()
