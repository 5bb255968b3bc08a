"""From load balancers and the network to flows and groups, and from two such states to ordered changes.

Pure: values in, values out; it sends nothing.
"""
