"""The dashboard and the alerts: they ask for what an agent answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from antrea_proxy.http_api.metrics import exposition
from worlds import WORLD

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
_METRIC = re.compile(r"\b(?:antrea|kubeproxy)_[a-z_]+\b")


def _of_the_dashboard() -> Iterator[str]:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    yield from (item["query"] for item in board["templating"]["list"] if item["type"] == "query")
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def _of_the_alerts() -> Iterator[str]:
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("expression", [*_of_the_dashboard(), *_of_the_alerts()])
def test_every_metric_and_label_that_is_asked_for_exists(expression: str) -> None:
    """A misspelt one would be an empty panel, or an alert that never fires."""
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition(WORLD.status)().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    asked = set(_METRIC.findall(expression))
    assert asked
    assert asked <= labels.keys()
    known = set().union(*(labels[name] for name in asked)) | {"instance"}  # which Prometheus adds
    for name in re.findall(r"by \((\w+)\)|[{,](\w+)=", expression):
        assert set(filter(None, name)) <= known


def test_an_alert_says_where_and_what_to_look_at() -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert "$labels.instance" in rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
