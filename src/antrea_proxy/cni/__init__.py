"""The CNI plugin, its server in the agent, the Pods that are wired and their addresses.

Knows nothing of Services, flows or the API server.
"""
