"""The antrea-agent.conf of one Node: the cluster's own, with what must be otherwise on a Node of the lab. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.options import EncapMode, Tunnel
from antrea_proxy.settings import SettingsError, parse

CONFIG_MAP = ("kube-system", "antrea-config")
CONFIG_KEY = "antrea-agent.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """The file's text, and the keys whose value in the cluster's file gave way, as `key: theirs -> ours`."""

    text: str
    overridden: tuple[str, ...]


def modes_of(cluster_config: str) -> dict[str, Any]:
    """Give the lab's options that a file decides where the user does not: how Nodes are joined.

    A text that cannot be read decides nothing; the agent, or `for_node`, says what is wrong with it.
    """
    try:
        values: Any = yaml.safe_load(cluster_config)
    except yaml.YAMLError:
        return {}
    if not isinstance(values, dict):
        return {}
    found: dict[str, Any] = {}
    for key, option, kind in (("trafficEncapMode", "encap_mode", EncapMode), ("tunnelType", "tunnel", Tunnel)):
        by_lower = {member.value.lower(): member for member in kind}
        member = by_lower.get(str(values.get(key, "")).lower())
        if member is not None:
            found[option] = member
    return found


def returns_directly(cluster_config: str) -> bool:
    """Whether a file that the lab is made with lets Nodes send connections on to each other (DSR): through tunnels.

    A text that cannot be read decides nothing, as with `modes_of`.
    """
    try:
        return parse(cluster_config).direct_return
    except SettingsError:
        return False


def for_node(cluster_config: str, must_be: Mapping[str, str]) -> AgentConfig:
    """Put the lab's keys over the cluster's.

    Raises LabError where the cluster's text is not a YAML mapping.
    """
    try:
        values: Any = yaml.safe_load(cluster_config) or {}
    except yaml.YAMLError as error:
        raise LabError(f"{CONFIG_KEY} in the ConfigMap {'/'.join(CONFIG_MAP)} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise LabError(
            f"{CONFIG_KEY} in the ConfigMap {'/'.join(CONFIG_MAP)} is a {type(values).__name__}: give keys and values"
        )
    overridden = tuple(
        f"{key}: {values[key]!r} -> {value!r}"
        for key, value in must_be.items()
        if key in values and str(values[key]).lower() != value.lower()
    )
    return AgentConfig(text=yaml.safe_dump({**values, **must_be}, sort_keys=False), overridden=overridden)
