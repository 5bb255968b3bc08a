"""The chart's schema, by which Helm refuses values before anything is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from antrea_proxy.settings.known_keys import USED

CHART = Path(__file__).resolve().parents[3] / "deploy" / "chart"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def _merged(text: str) -> dict[str, Any]:
    """The chart's values with others over them, one level deep, as `helm --set` does."""
    merged = dict(VALUES)
    for key, value in yaml.safe_load(text).items():
        merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    return merged


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "config: {wireGuard: {port: 1}, antreaProxy: {proxyAll: true, nodePortAddresses: [10.0.0.0/8]}}",
        "config: {featureGates: {LoadBalancerModeDSR: true}, antreaProxy: {defaultLoadBalancerMode: dsr}}",
        "maxUnavailable: 25%",
        "image: {tag: '1.2'}",
    ],
)
def test_values_that_can_work_are_taken(text: str) -> None:
    jsonschema.validate(_merged(text), SCHEMA)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("logLevel: loud", "$.logLevel"),
        ("maxUnavailable: 0", "$.maxUnavailable"),
        ("image: {pullPolicy: Sometimes}", "$.image.pullPolicy"),
        ("config: {tunnelType: ipip}", "$.config.tunnelType"),
        ("config: {tunnelPort: 70000}", "$.config.tunnelPort"),
        ("config: {antreaProxy: {proxyAl: true}}", "$.config.antreaProxy"),
        ("config: {antreaProxy: {defaultLoadBalancerMode: direct}}", "$.config.antreaProxy.defaultLoadBalancerMode"),
        ("config: {featureGates: {AntreaProxy: 'yes'}}", "$.config.featureGates.AntreaProxy"),
        ("cni: {fileName: a/b.conflist}", "$.cni.fileName"),
        ("replicas: 3", "$"),
    ],
)
def test_a_value_that_cannot_work_is_refused_where_it_stands(text: str, where: str) -> None:
    (error,) = jsonschema.Draft7Validator(SCHEMA).iter_errors(_merged(text))
    assert error.json_path == where


def test_every_key_of_the_proxy_is_known_to_the_schema() -> None:
    known = SCHEMA["properties"]["config"]["properties"]["antreaProxy"]["properties"]
    assert {f"antreaProxy.{key}" for key in known} == {key for key in USED if key.startswith("antreaProxy.")}
