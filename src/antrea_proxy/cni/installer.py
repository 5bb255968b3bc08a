"""Puts the CNI plugin and its network configuration on a Node, where the container runtime looks for them.

The plugin becomes one file, a zip application of the standard library alone, for the Node's own Python; the image's
is not there when the runtime starts it.
"""

from __future__ import annotations

import io
import json
import os
import zipapp
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Final

PLUGIN: Final = "antrea-proxy-cni"
_START: Final = "import sys\nfrom antrea_proxy.cni.plugin import main\nsys.exit(main())\n"
_PARTS: Final = ("__init__.py", "cni/__init__.py", "cni/codes.py", "cni/plugin.py")


class InstallationError(Exception):
    """A file cannot be written, or the configuration is none; names it and says what to do."""


def plugin_file(interpreter: str) -> bytes:
    """Make the plugin as one executable file; `interpreter` is the line after `#!`.

    With -IS, isolated and without site packages, nothing of the Node decides what it imports, and it starts sooner.
    """
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("__main__.py", _START)
        for part in _PARTS:
            packed.writestr(f"antrea_proxy/{part}", files("antrea_proxy").joinpath(part).read_bytes())
    made = io.BytesIO()
    archive.seek(0)
    zipapp.create_archive(archive, made, interpreter)
    return made.getvalue()


def check_conflist(text: str, origin: str) -> None:
    """Check that a list of network configurations (CNI specification 1.1.0, section 1) starts our plugin.

    Raises InstallationError naming `origin`: a runtime would only tell when the first Pod is to start.
    """
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise InstallationError(f"{origin} is no JSON: {error}") from error
    plugins = listed.get("plugins") if isinstance(listed, dict) else None
    types = [item.get("type") for item in plugins or () if isinstance(item, dict)]
    if not types or types[0] != PLUGIN:
        raise InstallationError(f'{origin}: plugins[0].type must be "{PLUGIN}", which gives Pods their interface')
    for key in ("cniVersion", "name"):
        if not isinstance(listed.get(key), str):
            raise InstallationError(f"{origin}: {key} is missing: give it as text")


def install(*, bin_dir: Path, conf_dir: Path, conflist: str, conflist_name: str, interpreter: str) -> None:
    """Write the plugin, and then the configuration that names it; each appears whole or not at all.

    Raises InstallationError.
    """
    _replace(bin_dir / PLUGIN, plugin_file(interpreter), mode=0o755)
    _replace(conf_dir / conflist_name, conflist.encode(), mode=0o644)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    # The runtime reads *.conf, *.conflist and *.json of the directory: the new file has another end until it is whole.
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        fresh.chmod(mode)
        os.replace(fresh, path)  # noqa: PTH105 - Path.replace says less about what is atomic here
    except OSError as error:
        raise InstallationError(
            f"{path} cannot be written: {error.strerror}; is the directory the Node's own?"
        ) from error
