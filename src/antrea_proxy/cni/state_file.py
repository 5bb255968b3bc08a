"""One file that always holds either the old or the new text, whenever the machine stops."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from antrea_proxy.cni.codes import ErrorCode
from antrea_proxy.cni.errors import CniError


class StateFileError(CniError):
    """The state cannot be read or saved: a full disk, for example."""

    def __init__(self, path: Path, doing: str, error: OSError) -> None:
        super().__init__(
            ErrorCode.IO_FAILURE,
            f"the address state {path} cannot be {doing}: {error.strerror or error}; make room or mend its directory",
        )


class StateStore(Protocol):
    """Where the address state is kept."""

    def load(self) -> bytes | None:
        """Return what was saved last, or None."""

    def save(self, text: bytes) -> None:
        """Replace what is kept, wholly or, with StateFileError, not at all."""

    def set_aside(self) -> str:
        """Move unreadable contents out of the way; returns where they are now."""


class StateFile:
    """A StateStore in a file: written beside it, synced and renamed over it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """Return the file's contents, or None when there is no file.

        Raises StateFileError.
        """
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateFileError(self._path, "read", error) from error

    def save(self, text: bytes) -> None:
        """Replace the contents; when it returns, they are on the disk.

        Raises StateFileError and leaves the old contents.
        """
        temporary = self._path.with_name(f".{self._path.name}.new")
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)  # rename(2) alone is not durable
            finally:
                os.close(directory)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise StateFileError(self._path, "saved", error) from error

    def set_aside(self) -> str:
        """Rename the file, so that someone can look at it; returns the new path.

        Raises StateFileError.
        """
        aside = self._path.with_name(f"{self._path.name}.malformed-{time.time_ns()}")
        try:
            self._path.rename(aside)
        except OSError as error:
            raise StateFileError(self._path, "moved aside", error) from error
        return str(aside)
