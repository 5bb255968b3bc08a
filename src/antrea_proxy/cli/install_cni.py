"""`antrea-proxy install-cni`: the plugin and its configuration, put where the container runtime looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antrea_proxy.cli.logs import fail

EXAMPLES = """
Examples:

  antrea-proxy install-cni

  antrea-proxy install-cni --bin-dir /host/opt/cni/bin --conf-dir /host/etc/cni/net.d --conflist antrea-cni.conflist
"""
DEFAULT_CONFLIST = """{
  "cniVersion": "1.0.0",
  "name": "antrea",
  "plugins": [{"type": "antrea-proxy-cni"}]
}
"""


def install_cni(
    bin_dir: Annotated[Path, typer.Option(help="Where the runtime finds plugins.")] = Path("/opt/cni/bin"),
    conf_dir: Annotated[Path, typer.Option(help="Where it finds network configurations.")] = Path("/etc/cni/net.d"),
    conflist: Annotated[
        Path | None, typer.Option(help="The network configuration; by default one of our plugin alone.", dir_okay=False)
    ] = None,
    conflist_name: Annotated[
        str, typer.Option(help="Its name there; the runtime takes the first by name.")
    ] = "10-antrea.conflist",
    python: Annotated[
        str, typer.Option(help="The Node's Python, 3.11 or newer, with its options.")
    ] = "/usr/bin/python3 -IS",
) -> None:
    """Install the CNI plugin, one file, and the network configuration that names it. What is there is replaced."""
    from antrea_proxy.cni import installer

    if "/" in conflist_name or not conflist_name.endswith(".conflist"):
        fail(f"--conflist-name {conflist_name}: give a file name that ends with .conflist", code=2)
    try:
        text = DEFAULT_CONFLIST if conflist is None else conflist.read_text("utf-8")
        installer.check_conflist(text, str(conflist or "the network configuration"))
        installer.install(
            bin_dir=bin_dir, conf_dir=conf_dir, conflist=text, conflist_name=conflist_name, interpreter=python
        )
    except installer.InstallationError as error:
        fail(str(error))
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--conflist {conflist} cannot be read: {error}")
    typer.echo(f"{bin_dir / installer.PLUGIN} and {conf_dir / conflist_name} are in place.")
