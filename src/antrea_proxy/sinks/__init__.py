"""Where words go to: Kubernetes Events and Node annotations.

Never decides what is worth saying.
"""

from antrea_proxy.sinks.events import EventText, Severity, create_event
from antrea_proxy.sinks.node_annotations import patch_node_annotation

__all__ = ["EventText", "Severity", "create_event", "patch_node_annotation"]
