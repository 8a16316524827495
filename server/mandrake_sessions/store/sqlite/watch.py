"""Detects commits by other processes."""

from __future__ import annotations

import os

from mandrake_sessions.inotify import ATTRIBUTES, MODIFIED, RENAMED, drain, watch_file
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sqlite.database import Database


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
        self.fileno = watch_file(f"{database.path}-wal", MODIFIED | ATTRIBUTES | RENAMED)

    def moved(self) -> bool:
        """Whether there was a commit since the last look (by any connection but this one). Raises StoreMoved: the file
        holds another history."""
        history = self._database.history
        seen = history.seen
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        with self._database.diagnosis.domain_errors():
            history.check(self._connection, seen)
        return True

    def last_seq(self) -> int:
        """The store's ``seq`` now."""
        with self._database.diagnosis.domain_errors():
            return last_seq(self._connection)

    def drain(self) -> None:
        """Forget that ``fileno`` was readable."""
        if self.fileno is not None:
            drain(self.fileno)

    def close(self) -> None:
        self._connection.close()
        if self.fileno is not None:
            os.close(self.fileno)
            self.fileno = None

    def _version(self) -> int:
        with self._database.diagnosis.domain_errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
