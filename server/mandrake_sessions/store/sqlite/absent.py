"""The state of a store that does not exist yet: an empty schema in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import connect
from typing import TYPE_CHECKING, Any, NoReturn

from mandrake_sessions.errors import WriteNeeded
from mandrake_sessions.files import exists, file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.model import Change
from mandrake_sessions.store.sql.changes import NO_STORE_ID
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.dialect import add_functions
from mandrake_sessions.store.sqlite.migrate import migrate

if TYPE_CHECKING:
    from mandrake_sessions.store.search import SearchReader, SearchWriter


def is_there(path: str) -> bool:
    """Whether there is a store at ``path`` that can be opened without creating one.

    An empty file counts as none: another process has just created it. If the system does not tell, or the path is not a
    file, the answer is True, and opening it reports the reason.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return found.st_size > 0 or not stat.S_ISREG(found.st_mode) or file_size(path + "-wal") > 0


def may_make(name: str) -> bool:
    """Could this process make a store of that name, and the directories above it?"""
    nearest = next((parent for parent in Path(name).parents if exists(parent)), None)
    return nearest is not None and os.access(nearest, os.W_OK | os.X_OK) and stat.S_ISDIR(nearest.stat().st_mode)


class EmptyIndex:
    """The search index of a store that holds nothing."""

    trouble: str | None = None
    is_wanted = False

    def current(self) -> str | None:
        return None

    @contextmanager
    def reading(self) -> Iterator[SearchReader | None]:
        yield None

    @contextmanager
    def writing(self, store_id: str) -> Iterator[SearchWriter]:  # noqa: ARG002
        raise WriteNeeded
        yield

    def remove(self) -> None:
        """There is none."""


class EmptyStore:
    """A store that holds nothing and cannot be written: each write raises ``WriteNeeded``."""

    is_current = True
    is_writing = False
    may_be_written = False
    search = EmptyIndex()
    reconnects = 0

    def __init__(self) -> None:
        self._connection = _empty_state()

    @contextmanager
    def transaction(
        self,
        *,
        appends_only: bool = False,  # noqa: ARG002
        wait: bool = True,  # noqa: ARG002
        budget: float | None = None,  # noqa: ARG002
        at: int | None = None,
    ) -> Iterator[EmptyTransaction]:
        yield EmptyTransaction(self._connection, at)

    @contextmanager
    def reading(self) -> Iterator[StoreConnection]:
        yield self._connection

    def snapshot(self, *, wait: bool = True) -> NoReturn:  # noqa: ARG002
        raise WriteNeeded

    def snapshot_beside(self) -> None:
        """There is nothing to read."""

    def last_seq(self) -> int:
        return 0


class EmptyTransaction:
    """Can look up entities, finds none, and writes nothing."""

    changes: list[Change] | None = None

    def __init__(self, connection: StoreConnection, at: int | None) -> None:
        self.sql = connection
        self.clock = now_ms()
        self.now = self.clock if at is None else at
        self.seq = 0
        self.streams: dict[str, Any] = {}

    def next_seq(self) -> int:
        raise WriteNeeded

    def own_lease_id(self) -> str | None:
        raise WriteNeeded


def _empty_state() -> StoreConnection:
    """A connection to a database in memory, which lasts as long as the connection."""
    connection = connect(":memory:", isolation_level=None, check_same_thread=False, factory=StoreConnection)
    add_functions(connection)
    migrate(connection, ":memory:", 0, keeps_backup=False)
    connection.execute("UPDATE store SET store_id = ?", (NO_STORE_ID,))
    connection.execute("PRAGMA query_only=ON")
    return connection
