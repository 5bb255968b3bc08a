"""The whole Node, compiled: the network's flows beside the Services'."""

from __future__ import annotations

from antrea_proxy.network.values import Network
from antrea_proxy.pipeline import base_flows, direct_flows
from antrea_proxy.pipeline.base_flows import compile_base
from antrea_proxy.pipeline.entry_flows import compile_entry, entry_owner
from antrea_proxy.pipeline.layout import Layout, mac_number
from antrea_proxy.pipeline.node_flows import compile_gateway, compile_peer, gateway_owner, peer_owner
from antrea_proxy.pipeline.pod_flows import compile_pod, pod_owner
from antrea_proxy.pipeline.units import Owner, Unit


def compile_network(network: Network, *, chooses_ports: bool = False) -> dict[Owner, Unit]:
    """The units of the base pipeline, the gateway, every peer and every Pod.

    `chooses_ports` says that the switch's tracker may (capabilities.may_choose_ports).
    """
    layout = Layout(
        gateway_mac=mac_number(network.gateway.mac),
        tunnel=network.tunnel is not None,
        direct_return=network.node_name if network.direct_return else "",
        chooses_ports=chooses_ports,
    )
    base = compile_base(layout)
    if layout.direct_return:
        base = base._replace(flows=(*base.flows, *direct_flows.stages(layout)))
    units = {base_flows.OWNER: base, gateway_owner(network.gateway): compile_gateway(network.gateway)}
    units |= {peer_owner(peer.name): compile_peer(peer, layout) for peer in network.peers}
    if network.service_entry is not None:
        units[entry_owner()] = compile_entry(network.gateway, network.service_entry, layout)
    units |= {pod_owner(pod): compile_pod(pod, layout) for pod in network.pods}
    return units
