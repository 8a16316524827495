"""Opens one connection to a file, with the settings that every connection here has."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from mandrake_sessions.large_work import LARGE_BYTES, met_large
from mandrake_sessions.store.oddities import Oddities
from mandrake_sessions.store.sqlite.bindings import LARGE_VALUE, release_large
from mandrake_sessions.store.sqlite.dialect import DIALECT, add_functions

JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
STATEMENT_CACHE = 256
C = TypeVar("C", bound="StoreConnection")
# STRICT tables are the newest feature that the schema uses.
OLDEST_SQLITE = (3, 37, 0)


class StoreConnection(sqlite3.Connection):
    """A connection to a store: what the statements of the entities run on (``interface.Sql``)."""

    dialect = DIALECT
    path = ""
    oddities: Oddities | None = None
    # Whether one of its statements may hold a large value. Then the connection is not kept for the next reader.
    holds_large = False

    def release_large(self, statement: str, values: Sequence[Any]) -> None:
        release_large(self, statement, values)

    def release_later(self, value: str) -> None:
        self.holds_large = self.holds_large or len(value) > LARGE_VALUE


def connect(path: str, *, read_only: bool = False, immutable: bool = False) -> StoreConnection:
    """``connect_as`` any connection to a store."""
    return connect_as(StoreConnection, path, read_only=read_only, immutable=immutable)


def connect_as(kind: type[C], path: str, *, read_only: bool = False, immutable: bool = False) -> C:
    """A connection that never waits for a lock (``timeout=0``: the caller waits) and begins no transaction by itself.

    Any thread may use it, one at a time. ``mode=rw``: it does not create a missing file.
    """
    mode = "ro" if read_only else "rw"
    uri = f"{Path(path).as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection: C = sqlite3.connect(
        uri,
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENT_CACHE,
        factory=kind,
    )
    connection.path = path
    connection.text_factory = text_or_bytes
    try:
        _configure(connection, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection, *, read_only: bool) -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise sqlite3.NotSupportedError(f"SQLite {sqlite3.sqlite_version} is older than 3.37; use another Python")
    connection.execute("PRAGMA foreign_keys=ON")
    if connection.execute("PRAGMA foreign_keys").fetchone() != (1,):
        raise sqlite3.NotSupportedError("this build of SQLite has no foreign keys; use another Python")
    add_functions(connection)
    if read_only:
        connection.execute("PRAGMA query_only=ON")
        return
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT}")
    connection.execute("PRAGMA secure_delete=ON")
    if sys.platform == "darwin":
        # Without it, FULL on macOS only hands the data to the drive's cache.
        connection.execute("PRAGMA fullfsync=ON")


def text_or_bytes(stored: bytes) -> str | bytes:
    """Decode a text. One that is not UTF-8 must affect its own row alone: it comes as bytes, which no text column may
    hold."""
    if len(stored) > LARGE_BYTES:
        met_large()
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


def is_wal(connection: sqlite3.Connection) -> bool:
    """Whether the file is in WAL mode. Ask before setting it: setting it, even to the same value, needs a lock, and
    fails before any timeout while other processes start on the same file."""
    return bool(connection.execute("PRAGMA journal_mode").fetchone() == ("wal",))
