"""A file that is not complete yet: it is written beside its place, and gets its name when it is complete.

Its writer holds a ``flock`` on it. So other processes can distinguish a file that a killed process left from one that
is being written.
"""

from __future__ import annotations

import glob
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mandrake_sessions.file_locks import fcntl, try_lock
from mandrake_sessions.owners import give_to_owner, keep_owner_and_mode
from mandrake_sessions.store.sqlite.lock_files import dead_file, is_dead

SUFFIX = ".partial"
_SIDECARS = ("-journal", "-wal", "-shm")


class PartialFile:
    """An empty private file, for SQLite to fill. Close its own handle only after all connections to it."""

    def __init__(self, handle: int, path: str) -> None:
        self._handle = handle
        self.path = path

    def publish(self, target: str, *, replace: bool) -> None:
        """Give the file its name, on the disk too. Raises FileExistsError if the name is taken and ``replace`` is
        false."""
        self.sync()
        if replace:
            os.replace(self.path, target)  # noqa: PTH105
        else:
            self._rename_to_free(target)
        sync_directory(os.path.dirname(target))  # noqa: PTH120

    def take_the_place_of(self, before: os.stat_result, *, allowed: int = 0o777) -> None:
        """Take the owner of that file, and its mode, without more than ``allowed``. Raises PermissionError."""
        keep_owner_and_mode(self._handle, before, allowed)

    def sync(self) -> None:
        """When this returns, everything that was written is on the disk."""
        if sys.platform == "darwin":
            assert fcntl is not None
            fcntl.fcntl(self._handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self._handle)

    def _rename_to_free(self, target: str) -> None:
        try:
            os.link(self.path, target)
        except FileExistsError:
            raise
        except OSError:
            # A file system without hard links: another process may take the name between these two lines.
            if os.path.exists(target):  # noqa: PTH110
                raise FileExistsError(target) from None
            os.replace(self.path, target)  # noqa: PTH105
        else:
            os.unlink(self.path)  # noqa: PTH108


@contextmanager
def partial_file(directory: str, stem: str, *, like: str | None = None) -> Iterator[PartialFile]:
    """Make a new one for the block. Afterwards nothing is left of it, nor of those that killed processes left, except
    what was published. If root makes it, it gets the owner of ``like``."""
    for path in dead_partials(directory, stem):
        remove_partial(path)
    handle, path = _create(directory, stem)
    if like is not None:
        give_to_owner(handle, like)
    try:
        yield PartialFile(handle, path)
    finally:
        _unlink_with_sidecars(path)
        os.close(handle)


def dead_partials(directory: str, stem: str) -> list[str]:
    """The files of that stem whose writer is gone, and files beside them whose own file is gone."""
    found = []
    for path in sorted(Path(directory).glob(f"{glob.escape(stem)}.*{SUFFIX}*")):
        own = Path(str(path)[: str(path).rindex(SUFFIX) + len(SUFFIX)])
        if (path == own and is_dead(own)) or not own.exists():
            found.append(str(path))
    return found


def remove_partial(path: str) -> None:
    """Delete a dead one, with the files beside it."""
    with dead_file(Path(path)) as dead:
        if dead:
            _unlink_with_sidecars(path)


def sync_directory(directory: str) -> None:
    """When this returns, the names in the directory are on the disk, if the system can open directories (Windows
    cannot)."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(directory: str, stem: str) -> tuple[int, str]:
    while True:
        path = os.path.join(directory, f"{stem}.{uuid.uuid4().hex[:12]}{SUFFIX}")  # noqa: PTH118
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        # Until it is locked, another process may take it for a dead one.
        if (fcntl is None or try_lock(handle)) and os.path.exists(path):  # noqa: PTH110
            return handle, path
        os.close(handle)
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


def _unlink_with_sidecars(path: str) -> None:
    for name in (path, *(path + suffix for suffix in _SIDECARS)):
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108
