"""antrea-proxy: Kubernetes Service load balancing in Open vSwitch.

Each folder is a room with one duty; the import contracts in pyproject.toml keep the doors between them.
"""

__version__ = "0.1.0"
