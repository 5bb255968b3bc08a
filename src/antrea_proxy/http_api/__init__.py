"""The agent's API: status, metrics and health, over a Unix socket and loopback.

Reads the published status alone; never the reconciler or the switch. What it answers with is in `view_types`, which
imports nothing of the agent.
"""
