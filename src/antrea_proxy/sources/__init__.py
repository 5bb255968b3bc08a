"""Where events come from: the API server's list and watch, or a directory of manifests.

Never decides what an event means.
"""
