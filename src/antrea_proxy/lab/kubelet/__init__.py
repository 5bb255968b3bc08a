"""What a kubelet and a container runtime do on a Node: sandboxes, containers, probes, the Pod's status.

Sees the cluster through the API's store alone, and the Node's network through the CNI plugin alone.
"""
