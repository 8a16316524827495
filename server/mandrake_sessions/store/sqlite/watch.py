"""Detects commits by other processes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sqlite.database import Database

# Written to; unlinked (which changes the count of links); renamed.
_IN_MODIFY, _IN_ATTRIB, _IN_MOVE_SELF = 0x2, 0x4, 0x800
_IN_NONBLOCK, _IN_CLOEXEC = 0o4000, 0o2000000


class CommitWatch:
    """Detects commits by other connections: ``PRAGMA data_version`` on a connection that stays out of transactions. A
    look costs a few microseconds and takes no lock.

    On Linux ``fileno`` becomes readable when a process writes to the -wal, so nobody has to look while nothing happens.
    The write comes a moment before its commit is visible: look again shortly after.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.diagnosis.domain_errors():
            self._connection = database.readers.connect()
        self._seen = self._version()
        self.fileno = _inotify(f"{database.path}-wal") if sys.platform == "linux" else None

    def moved(self) -> bool:
        """Whether there was a commit since the last look (by any connection but this one)."""
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        return True

    def last_seq(self) -> int:
        """The store's ``seq`` now."""
        with self._database.diagnosis.domain_errors():
            return last_seq(self._connection)

    def drain(self) -> None:
        """Forget that ``fileno`` was readable."""
        if self.fileno is not None:
            with suppress(BlockingIOError):
                while os.read(self.fileno, 65536):
                    pass

    def close(self) -> None:
        self._connection.close()
        if self.fileno is not None:
            os.close(self.fileno)
            self.fileno = None

    def _version(self) -> int:
        with self._database.diagnosis.domain_errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _inotify(path: str) -> int | None:
    """A descriptor that becomes readable when the file is written to; None if there is none."""
    try:
        import ctypes  # Only a process with subscriptions pays for this import.

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        # The system opens no more files, for example.
        return None
    handle: int = libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    if handle < 0:
        return None
    if libc.inotify_add_watch(handle, os.fsencode(path), _IN_MODIFY | _IN_ATTRIB | _IN_MOVE_SELF) < 0:
        os.close(handle)
        return None
    return handle
