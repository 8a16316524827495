"""Opens a file of the search index, and tells damage from other failures."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from mandrake_sessions.store.sqlite.connect import StoreConnection, connect, is_wal
from mandrake_sessions.store.sqlite.failures import is_locked, primary_code
from mandrake_sessions.store.sqlite.permissions import may_not_share
from mandrake_sessions.store.sqlite.quiet import Look, look
from mandrake_sessions.store.sqlite.search_files import is_in_place
from mandrake_sessions.store.sqlite.search_sql import NOT_OURS

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# SQLite's and our own words for tables that this program has not made so.
_NOT_OURS = ("no such table", "no such column", NOT_OURS)
_CACHE_KIB = 8192


def is_damage(error: Exception) -> bool:
    """Whether it says that the file is no index any more. One that was cut is read past its end."""
    if not isinstance(error, sqlite3.Error):
        return False
    is_cut = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHORT_READ
    return is_cut or primary_code(error) in _DAMAGED or any(words in str(error) for words in _NOT_OURS)


@frozen
class OpenedIndex:
    """``seen``, ``look``: the file as it was before it was opened. ``is_immutable``: SQLite takes no locks on it."""

    connection: StoreConnection
    path: Path
    seen: os.stat_result
    look: Look
    is_immutable: bool

    @property
    def is_in_place(self) -> bool:
        return is_in_place(self.path, self.seen)

    @property
    def is_as_opened(self) -> bool:
        """Whether nobody can have written to it while it was read without locks: what was read then may be of two
        states."""
        if not self.is_immutable:
            return True
        try:
            return self.look.is_settled and look(str(self.path)) == self.look and not _is_open(self.path)
        except OSError:
            return False

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.connection.close()


def _is_open(path: Path) -> bool:
    """Whether a process has it open, or ended without closing it."""
    return path.with_name(f"{path.name}-wal").exists()


def open_index(path: Path, *, read_only: bool, is_visited: bool = False) -> OpenedIndex:
    seen, looks = path.lstat(), look(str(path))
    # Nobody has it open, and no file is made beside it.
    is_quiet = is_visited and not _is_open(path)
    is_immutable = read_only and (is_quiet or may_not_share(str(path)))
    connection = connect(str(path), read_only=read_only, immutable=is_immutable)
    connection.execute("PRAGMA synchronous=NORMAL")
    if not read_only:
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return OpenedIndex(connection, path, seen, looks, is_immutable)


def try_to_open(path: Path) -> OpenedIndex | None:
    """None where it is no index, so that it is made again."""
    try:
        opened = open_index(path, read_only=False)
    except sqlite3.Error as error:
        if is_damage(error):
            return None
        raise
    if is_wal(opened.connection):
        return opened
    opened.close()
    return None


def is_of(connection: sqlite3.Connection, store_id: str) -> bool:
    """Whether it is an index of this store."""
    try:
        return bool(connection.execute("SELECT store_id FROM meta").fetchone() == (store_id,))
    except sqlite3.Error as error:
        if is_locked(error):
            raise
        return False
