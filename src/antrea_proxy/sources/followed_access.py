"""A kubeconfig that is written anew while we run: who renews certificates in it does not restart us."""

from __future__ import annotations

from pathlib import Path

from antrea_proxy.sources.access import ClusterAccess
from antrea_proxy.sources.errors import AccessError
from antrea_proxy.sources.kubeconfig import read_kubeconfig

_Version = tuple[int, int, int]


class FollowedAccess:
    """The newest access that can be used of one kubeconfig; of anything else, what it was at first.

    `problem` says why the file as it is now is not used, and is empty where it is.
    """

    def __init__(self, access: ClusterAccess) -> None:
        self.current = access
        self.problem = ""
        self._seen = _version(access.kubeconfig)

    def changed(self) -> ClusterAccess | None:
        """Give the access of a file that has changed since the last time, None where the one we have is to be used."""
        now = _version(self.current.kubeconfig)
        if self.current.kubeconfig is None or now == self._seen:
            return None
        self._seen = now
        try:
            new = read_kubeconfig(self.current.kubeconfig, self.current.context)
        except AccessError as error:
            self.problem = f"what it held before is used, for it has changed: {error}"
            return None
        if new.server != self.current.server:
            self.problem = (
                f"{new.origin} names another API server now, {new.server}: restart the agent to follow that one"
            )
            return None
        self.problem = ""
        self.current = new
        return new


def _version(path: Path | None) -> _Version | None:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_ino, status.st_size)
