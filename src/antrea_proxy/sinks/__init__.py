"""Where words go to: Kubernetes Events and Node annotations.

Never decides what is worth saying.
"""
