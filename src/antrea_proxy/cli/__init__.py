"""The command line, one file a command group.

Talks to the agent through its API; never imports the agent or the switch.
"""
