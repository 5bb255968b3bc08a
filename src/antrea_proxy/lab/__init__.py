"""A whole cluster on one machine, made of real parts.

Starts processes and uses public commands; never the insides of the agent.
"""
