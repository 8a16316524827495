"""The state of a store that is not there yet: a schema with nothing in it, in memory."""

from __future__ import annotations

import os
import stat
from sqlite3 import Connection, connect

from mandrake_sessions.errors import WriteNeeded
from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.changes import NO_STORE_ID
from mandrake_sessions.store.migrate import migrate


def is_there(path: str) -> bool:
    """Whether a store is at ``path``, so that it can be opened without making one.

    An empty file is what another process has just made, and holds nothing yet. Where it cannot be told, for lack of a
    permission, say, and of what is no file, opening tells why.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return found.st_size > 0 or not stat.S_ISREG(found.st_mode) or file_size(path + "-wal") > 0


def empty_state() -> Connection:
    """A connection to a store without a name, which only lasts as long as the connection."""
    connection = connect(":memory:", isolation_level=None, check_same_thread=False)
    migrate(connection, ":memory:", 0, keeps_backup=False)
    connection.execute("UPDATE store SET store_id = ?", (NO_STORE_ID,))
    connection.execute("PRAGMA query_only=ON")
    return connection


class EmptyTransaction:
    """In place of ``Transaction`` where there is no store: it can look for what is not there, and write nothing."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.now = now_ms()
        self.seq = 0

    def __getattr__(self, name: str) -> None:
        raise WriteNeeded
