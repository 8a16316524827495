"""The handles that this process has on the files of a database. They are SQLite's own: closing another one on the same
file would drop SQLite's locks, so none is ever opened for reading."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

_COPIED_AT_ONCE: Final = 1024 * 1024


class Handles:
    """Of one database, its -wal and its -shm, by their suffixes. One is looked for among all of the process's once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, int] = {}

    def get(self, suffix: str) -> int | None:
        """One as it was found last, which may have been closed since, or else ``find``."""
        found = self._known.get(suffix)
        return self.find(suffix) if found is None else found

    def find(self, suffix: str) -> int | None:
        """One that is open on the file to which the name leads now."""
        known = self._known.get(suffix)
        try:
            wanted = os.stat(self._path + suffix)  # noqa: PTH116
            if known is not None and os.path.samestat(wanted, os.fstat(known)):
                return known
        except OSError:
            pass
        else:
            handle = own_handle(wanted, open_handles())
            if handle is not None:
                self._known[suffix] = handle
                return handle
        self._known.pop(suffix, None)
        return None

    def copy_to(self, path: str, suffix: str = "") -> None:
        """Write what is in one of the files now over another file. Raises OSError."""
        source = self.find(suffix)
        if source is None:
            raise FileNotFoundError(errno.ENOENT, "it is not open here", self._path + suffix)
        with open(path, "r+b") as copy:  # noqa: PTH123
            at = 0
            while part := os.pread(source, _COPIED_AT_ONCE, at):
                copy.write(part)
                at += len(part)
            copy.truncate(at)


def own_handle(wanted: os.stat_result, handles: list[int]) -> int | None:
    """The first of these that is open on that file."""
    for handle in handles:
        with suppress(OSError):
            if os.path.samestat(wanted, os.fstat(handle)):
                return handle
    return None


def open_handles() -> list[int]:
    """All that this process has open; none where the system does not list them."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sorted(int(name) for name in os.listdir(directory))  # noqa: PTH208
    return []
