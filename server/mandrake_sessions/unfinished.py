"""Files that are written under another name until they are whole.

Their writer holds a ``flock`` on each. So the next one can tell a file that a killed process has left, and deletes it,
from one that is being written.
"""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final

from mandrake_sessions.file_locks import fcntl, open_to_lock, try_lock

_MADE: Final = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Unfinished:
    """A private file: ``output`` fills it. ``name``: in the directory where that is open, else the whole path."""

    name: str
    output: IO[bytes]

    def __init__(self, stem: str, directory: str, handle: int | None) -> None:
        self._stem = stem
        self._place = directory
        self._directory = handle
        self._file: int | None = None
        # It keeps the lock until the file has its name, when the output is closed: some systems rename no open file.
        self._held: int | None = None

    def make(self) -> None:
        """Raises OSError. Whatever ends it, as a signal may at any place, ``close`` leaves nothing."""
        while True:
            self.name = os.path.join(self._place, f".{self._stem}.{uuid.uuid4().hex[:12]}.partial")  # noqa: PTH118
            self._file = os.open(self.name, _MADE, 0o600, dir_fd=self._directory)
            if _is_held(self.name, self._directory, self._file):
                break
            self.close()
        self._held = None if fcntl is None else os.dup(self._file)
        self.output, self._file = os.fdopen(self._file, "wb"), None

    def close(self) -> None:
        """Nothing is left of it, except under the names that it was given."""
        try:
            if hasattr(self, "output"):
                self.output.close()
        finally:
            if hasattr(self, "name"):
                with suppress(FileNotFoundError):
                    os.unlink(self.name, dir_fd=self._directory)
            for handle in (self._file, self._held):
                if handle is not None:
                    os.close(handle)
            self._file = self._held = None


@contextmanager
def unfinished(stem: str, directory: str, handle: int | None = None) -> Iterator[Unfinished]:
    """Make one for the block, and delete those of the same stem whose writer is gone. ``handle``: that of the
    directory, if it is open. Raises OSError."""
    if handle is not None:
        directory = ""
    _remove_dead(directory, handle, re.compile(rf"\.{re.escape(stem)}\.[0-9a-f]{{12}}\.partial"))
    made = Unfinished(stem, directory, handle)
    try:
        made.make()
        yield made
    finally:
        made.close()


def _is_held(name: str, directory: int | None, file: int) -> bool:
    """Lock it. False: until then another process took it for a dead one, and deletes it."""
    try:
        return fcntl is None or (try_lock(file) and _leads_to(name, directory, file))
    except OSError:
        # A file system without locks, where nobody takes it for a dead one either.
        return True


def _remove_dead(directory: str, handle: int | None, names: re.Pattern[str]) -> None:
    # A directory that cannot be listed may take a new file all the same.
    with suppress(OSError):
        for name in os.listdir(directory if handle is None else handle):  # noqa: PTH208
            if names.fullmatch(name):
                with suppress(OSError):
                    _remove_if_dead(os.path.join(directory, name), handle)  # noqa: PTH118


def _remove_if_dead(name: str, directory: int | None) -> None:
    file = open_to_lock(name, directory)
    try:
        is_file = stat.S_ISREG(os.fstat(file).st_mode)
        if is_file and try_lock(file) and _leads_to(name, directory, file):
            os.unlink(name, dir_fd=directory)
    finally:
        os.close(file)


def _leads_to(name: str, directory: int | None, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=directory, follow_symlinks=False), os.fstat(file))
    except OSError:
        return False
