"""A support bundle of a Node whose switch and agent run: nothing is missing, and no credential is in it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

from lab_cluster import PROGRAM
from lab_stage import Stage


def test_a_bundle_holds_agent_switch_and_log_and_no_credential(stage: Stage, tmp_path: Path) -> None:
    made = tmp_path / "made.tar.gz"
    node = stage.nodes[0]
    words = (PROGRAM, "support-bundle", "--lab", stage.cluster.name, "--node", node, "--output", str(made))
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert "missing" not in done.stderr
    with tarfile.open(made) as archive:
        files = {item.name: archive.extractfile(item).read() for item in archive}  # type: ignore[union-attr]
    assert b"Bridge br-int" in files["antrea-proxy/switch/bridges.txt"]
    assert b"Connections Stats" in files["antrea-proxy/switch/connections.txt"]
    assert files["antrea-proxy/agent.log"]
    access = json.loads(stage.cluster.places.node(node).kubeconfig.read_text())
    secrets = [access["users"][0]["user"]["client-key-data"].encode(), b"PRIVATE KEY"]
    assert not [name for name, content in files.items() if any(secret in content for secret in secrets)]
