"""antrea-agent.conf and its feature gates: types, defaults, and validation that names every problem at once.

Pure: does no I/O beyond reading the text that it is given, and imports no other room.
"""

from antrea_proxy.settings.choices import DatapathType, LoadBalancerMode, TrafficEncapMode, TunnelType
from antrea_proxy.settings.feature_gates import FeatureGates
from antrea_proxy.settings.parsing import parse
from antrea_proxy.settings.problems import Problem, SettingsError
from antrea_proxy.settings.values import AntreaProxySettings, ListenAddress, Settings, SkipServices

__all__ = [
    "AntreaProxySettings",
    "DatapathType",
    "FeatureGates",
    "ListenAddress",
    "LoadBalancerMode",
    "Problem",
    "Settings",
    "SettingsError",
    "SkipServices",
    "TrafficEncapMode",
    "TunnelType",
    "parse",
]
