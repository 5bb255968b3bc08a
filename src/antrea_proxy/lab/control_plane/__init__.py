"""The lab's control plane: what kube-controller-manager, the scheduler and a cloud's load balancer do, in small.

Works through the API server's Store alone: it watches by observers, writes as any client does, and takes part in writes
of Services by an admission hook. It knows no process and no network namespace.
"""
