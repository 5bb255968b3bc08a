"""The Node's place in the Pod network: Pod interfaces, peers, gateway, tunnels, routes, egress masquerade.

Pure: knows no word of OVS and does no I/O.
"""
