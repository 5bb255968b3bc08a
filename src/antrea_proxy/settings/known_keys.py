"""Every key that Antrea's agent reads from antrea-agent.conf, with its type, and which of them decide something here.

Source: Antrea's pkg/config/agent. A key that is known and not used is accepted and named once as not used.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Kind(enum.Enum):
    """The type of a key's value; the value of each member is how a message names the type."""

    TEXT = "a string"
    FLAG = "true or false"
    NUMBER = "a whole number"
    TEXTS = "a list of strings"
    NUMBERS = "a list of whole numbers"
    OBJECT = "a mapping"
    GATES = "a mapping of feature gates to true or false"


_T, _F, _N, _TS = Kind.TEXT, Kind.FLAG, Kind.NUMBER, Kind.TEXTS

USED: Mapping[str, Kind] = {
    "featureGates": Kind.GATES,
    "kubeAPIServerOverride": _T,
    "ovsBridge": _T,
    "ovsDatapathType": _T,
    "ovsRunDir": _T,
    "hostGateway": _T,
    "trafficEncapMode": _T,
    "tunnelType": _T,
    "tunnelPort": _N,
    "serviceCIDR": _T,
    "serviceCIDRv6": _T,
    "defaultMTU": _N,
    "noSNAT": _F,
    "cniSocket": _T,
    "transportInterface": _T,
    "transportInterfaceCIDRs": _TS,
    "disableTXChecksumOffload": _F,
    "enablePrometheusMetrics": _F,
    "apiPort": _N,
    "antreaProxy.enable": _F,
    "antreaProxy.proxyAll": _F,
    "antreaProxy.nodePortAddresses": _TS,
    "antreaProxy.skipServices": _TS,
    "antreaProxy.proxyLoadBalancerIPs": _F,
    "antreaProxy.serviceProxyName": _T,
    "antreaProxy.defaultLoadBalancerMode": _T,
    "antreaProxy.disableServiceHealthCheckServer": _F,
    "antreaProxy.serviceHealthCheckServerBindAddress": _T,
}

NOT_USED: Mapping[str, Kind] = {
    "clientConnection": Kind.OBJECT,
    "antreaClientConnection": Kind.OBJECT,
    "podCIDRs": _T,
    "snatFullyRandomPorts": _F,
    "tunnelCsum": _F,
    "hostProcPathPrefix": _T,
    "trafficEncryptionMode": _T,
    "wireGuard.port": _N,
    "enableBridgingMode": _F,
    "clusterPort": _N,
    "memberlist.gossipVerifyOutgoing": _F,
    "memberlist.gossipVerifyIncoming": _F,
    "flowCollectorAddr": _T,
    "flowPollInterval": _T,
    "activeFlowExportTimeout": _T,
    "idleFlowExportTimeout": _T,
    "nodePortLocal.enable": _F,
    "nodePortLocal.portRange": _T,
    "flowExporter.enable": _F,
    "flowExporter.flowCollectorAddr": _T,
    "flowExporter.flowPollInterval": _T,
    "flowExporter.activeFlowExportTimeout": _T,
    "flowExporter.idleFlowExportTimeout": _T,
    "flowExporter.protocolFilter": _TS,
    "dnsServerOverride": _T,
    "fqdnCacheMinTTL": _N,
    "tlsCipherSuites": _T,
    "tlsMinVersion": _T,
    "multicast.enable": _F,
    "multicast.multicastInterfaces": _TS,
    "multicast.igmpQueryInterval": _T,
    "multicast.igmpQueryVersions": Kind.NUMBERS,
    "egress.exceptCIDRs": _TS,
    "egress.maxEgressIPsPerNode": _N,
    "egress.snatFullyRandomPorts": _F,
    "egress.uniqueMACForSubInterfaces": _F,
    "ipsec.authenticationMode": _T,
    "multicluster.enableGateway": _F,
    "multicluster.namespace": _T,
    "multicluster.enableStretchedNetworkPolicy": _F,
    "multicluster.enablePodToPodConnectivity": _F,
    "multicluster.wireGuard.port": _N,
    "multicluster.trafficEncryptionMode": _T,
    "nodeType": _T,
    "externalNode.externalNodeNamespace": _T,
    "externalNode.policyBypassRules.direction": _T,
    "externalNode.policyBypassRules.protocol": _T,
    "externalNode.policyBypassRules.cIDR": _T,
    "externalNode.policyBypassRules.port": _N,
    "auditLogging.maxSize": _N,
    "auditLogging.maxBackups": _N,
    "auditLogging.maxAge": _N,
    "auditLogging.compress": _F,
    "secondaryNetwork.ovsBridges.bridgeName": _T,
    "secondaryNetwork.ovsBridges.physicalInterfaces": _TS,
    "secondaryNetwork.ovsBridges.enableMulticastSnooping": _F,
    "packetInRate": _N,
    "hostNetworkAcceleration.enable": _F,
    "hostNetworkMode": _T,
}

KNOWN: Mapping[str, Kind] = {**USED, **NOT_USED}

LISTS_OF_SECTIONS = frozenset({"externalNode.policyBypassRules", "secondaryNetwork.ovsBridges"})
"""Sections that the file repeats, as a list of mappings."""

SECTIONS = frozenset(path.rsplit(".", depth)[0] for path in KNOWN for depth in range(1, path.count(".") + 1))
"""Every path that holds keys instead of a value: `antreaProxy`, `multicluster.wireGuard` …"""
