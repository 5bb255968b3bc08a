"""Settings as the API shows them can be read again as an antrea-agent.conf."""

from __future__ import annotations

import pytest
import yaml

from antrea_proxy.http_api.settings_view import settings_view
from antrea_proxy.settings import parse

CONFIGURATION = """
trafficEncapMode: noEncap
hostGateway: gw9
apiPort: 10399
transportInterfaceCIDRs: [10.0.0.0/8, "fd00::/16"]
featureGates: {LoadBalancerModeDSR: true}
antreaProxy:
  proxyAll: true
  skipServices: [kube-system/dns, 10.96.0.53]
  serviceHealthCheckServerBindAddress: "[::]:10999"
"""


@pytest.mark.parametrize("text", ["", CONFIGURATION])
def test_what_is_shown_means_the_same_when_it_is_read(text: str) -> None:
    settings = parse(text)
    shown = settings_view(settings)
    assert "Egress" not in shown["featureGates"], "which decides nothing here"
    shown["featureGates"] = {
        name: value for name, value in shown["featureGates"].items() if name == "LoadBalancerModeDSR"
    }
    for key in ("tunnelPort", "defaultMTU"):
        assert shown.pop(key) == 0, "which means that it is worked out"
    assert parse(yaml.safe_dump(shown)) == settings
