"""Hearing of commits by other processes."""

from __future__ import annotations

from mandrake_sessions.store.database import Database
from mandrake_sessions.store.failures import translated
from mandrake_sessions.store.transaction import last_seq


class CommitWatch:
    """Looks whether anybody else has committed, by ``PRAGMA data_version`` on a connection that stays out of
    transactions; a look costs a few microseconds and takes no lock."""

    def __init__(self, database: Database) -> None:
        self._path = database.path
        with translated(self._path):
            self._connection = database.connect_reader()
        self._seen = self._version()

    def moved(self) -> bool:
        """Whether there was a commit since the last look (by any connection but this one)."""
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        return True

    def last_seq(self) -> int:
        """The store's ``seq`` now."""
        with translated(self._path):
            return last_seq(self._connection)

    def close(self) -> None:
        self._connection.close()

    def _version(self) -> int:
        with translated(self._path):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
