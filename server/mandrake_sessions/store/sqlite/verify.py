"""Checks whether a file is a store of this program, and whole."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason, Wording
from mandrake_sessions.store.sqlite.deep_check import deep_check
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.migrate import APPLICATION_ID, latest_version, lowest_programs, user_version
from mandrake_sessions.store.sqlite.reading import interruptible, reading

# SQLite's own word for a file in order.
_WHOLE = [("ok",)]
_INTEGRITY_ROWS = 100


@frozen
class Facts:
    """What a file tells of itself."""

    schema_version: int
    store_id: str
    sessions: int


@frozen
class Faults:
    """The faults of a file, as sentences; none if it is whole. ``in_pages``: SQLite itself calls it damaged."""

    in_pages: bool
    texts: list[str]

    def refusal(self, path: str, ways_out: Wording) -> StorageFailure:
        """The error for a caller that cannot use the file, or the file that it was copied from. There must be
        faults."""
        first, more = self.texts[0], len(self.texts) - 1
        all_of_it = first if not more else f"{first}, and {more} more"
        wrong = f"is damaged ({all_of_it})" if self.in_pages else f"does not hold what it should: {all_of_it}"
        return StorageFailure(StorageReason.CORRUPT, lambda words: f"{path} {wrong}. {ways_out(words)}", path)


def look_at(path: str, budget: float) -> Facts:
    """Read what the file tells of itself.

    Raises:
        StorageFailure: ``open``, ``foreignDatabase``, ``corrupt``, or ``schemaTooNew`` to be read.
        Busy: another process held its lock for ``budget`` seconds.
    """
    with reading(path) as connection, one_snapshot(connection, path, budget):
        version = check_ours(connection, path)
        store_id = _first(connection, "store", "store_id")
        sessions = _first(connection, "session", "count(*)")
    return Facts(version, str(store_id), int(sessions or 0))


def _first(connection: Connection, table: str, value: str) -> Any:
    """None if there is no row, or no such table: the deep check reports what is missing."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is None:
        return None
    row = connection.execute(f"SELECT {value} FROM {table}").fetchone()
    return None if row is None else row[0]


def schema_of(path: str, budget: float) -> int:
    """The schema version of a file of this program; 0 for an empty file. Raises what ``look_at`` raises."""
    with reading(path) as connection, one_snapshot(connection, path, budget):
        if is_empty(connection):
            return 0
        return check_ours(connection, path)


def check_ours(connection: Connection, path: str) -> int:
    """The schema version of a file that this program can read. Raises StorageFailure for any other."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise StorageFailure(
            StorageReason.FOREIGN_DATABASE, f"{path} is no store of this program; name another file", path
        )
    version = user_version(connection)
    if version > latest_version() and lowest_programs(connection)[1] > latest_version():
        raise too_new(path, version)
    return version


def too_new(path: str, version: int) -> StorageFailure:
    """The error for a file of a newer program."""
    return StorageFailure(
        StorageReason.SCHEMA_TOO_NEW,
        f"{path} has schema {version}, this program knows {latest_version()}; update mandrake-sessions",
        path,
    )


def is_empty(connection: Connection) -> bool:
    """Whether it is a new file, in which nobody has written anything yet."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    return not tables and not application_id


def find_faults(path: str) -> Faults:
    """Check every page of a file, every reference, and the meaning of its rows. Raises StorageFailure if it cannot be
    read for another reason than its content."""
    try:
        with reading(path) as connection:
            if complaints := integrity(connection):
                return Faults(True, complaints)
            # This program does not know what a newer program's rows mean.
            known = user_version(connection) <= latest_version()
            return Faults(False, [problem.text for problem in deep_check(connection)] if known else [])
    except StorageFailure as failure:
        if failure.reason is not StorageReason.CORRUPT:
            raise
        return Faults(True, [str(failure.__cause__ or failure)])


def integrity(connection: Connection) -> list[str]:
    """The faults that SQLite finds in the file's pages and indexes; at most so many."""
    statement = f"PRAGMA integrity_check({_INTEGRITY_ROWS})"
    rows = interruptible(connection, lambda: connection.execute(statement).fetchall())
    return [] if rows == _WHOLE else [" ".join(str(row[0]).split()) for row in rows]


def broken_references(connection: Connection) -> list[str]:
    """Rows that refer to missing rows, counted by table."""
    statement = 'SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1 ORDER BY 1'
    rows = interruptible(connection, lambda: connection.execute(statement).fetchall())
    return [f"{count} of {table} belong to nothing" for table, count in rows]
