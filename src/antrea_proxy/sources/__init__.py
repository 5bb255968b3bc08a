"""Where events come from: the API server's list and watch, or a directory of manifests.

Never decides what an event means.
"""

from antrea_proxy.sources.access import ClusterAccess
from antrea_proxy.sources.api_server import ApiServerSource
from antrea_proxy.sources.client import ApiClient
from antrea_proxy.sources.errors import AccessError, RefusedError, SourceError, UnreachableError, WrongCertificateError
from antrea_proxy.sources.kubeconfig import cluster_access
from antrea_proxy.sources.manifests import ManifestSource
from antrea_proxy.sources.source import Source
from antrea_proxy.sources.status import SourceStatus, StatusListener
from antrea_proxy.sources.streamed_list import streaming_lists

__all__ = [
    "AccessError",
    "ApiClient",
    "ApiServerSource",
    "ClusterAccess",
    "ManifestSource",
    "RefusedError",
    "Source",
    "SourceError",
    "SourceStatus",
    "StatusListener",
    "UnreachableError",
    "WrongCertificateError",
    "cluster_access",
    "streaming_lists",
]
