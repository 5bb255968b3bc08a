"""The imperative shell: the one loop that takes events to the switch and the host.

Decides nothing that a pure room could decide.
"""
