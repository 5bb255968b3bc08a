"""The file by which kubectl and the agent find the server and prove who they are."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path

import msgspec

from antrea_proxy.lab.api_server.certificates import Certificates

CLUSTER = "antrea-proxy-lab"


def kubeconfig(*, server_url: str, certificates: Certificates, user: str, namespace: str = "default") -> bytes:
    """Give a kubeconfig (JSON, which is YAML) that holds all that is needed."""

    def text(pem: bytes) -> str:
        return b64encode(pem).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CLUSTER,
                "cluster": {"server": server_url, "certificate-authority-data": text(certificates.authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": text(certificates.client_certificate),
                    "client-key-data": text(certificates.client_key),
                },
            }
        ],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": user, "namespace": namespace}}],
        "current-context": CLUSTER,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, all at once: a reader sees the old or the new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
