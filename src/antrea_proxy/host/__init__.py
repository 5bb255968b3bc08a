"""What the Node's own network stack must hold: routes, neighbours, refusals, masquerade; its own diff and repair.

Never touches what another program put there.
"""
