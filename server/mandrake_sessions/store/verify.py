"""Whether a file is one of ours, and whole."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.deep_check import deep_check
from mandrake_sessions.store.immediate import one_snapshot
from mandrake_sessions.store.migrate import APPLICATION_ID, latest_version, lowest_programs, user_version
from mandrake_sessions.store.reading import interruptible, reading

# SQLite's own words for one that is in order.
_WHOLE = [("ok",)]
_INTEGRITY_ROWS = 100


@frozen
class Facts:
    """What a file says of itself."""

    schema_version: int
    store_id: str
    sessions: int


def look_at(path: str, budget: float) -> Facts:
    """What the file says of itself.

    Raises:
        StorageFailure: ``open``, ``foreignDatabase``, ``corrupt``, or ``schemaTooNew`` to be read.
        Busy: others held it for ``budget`` seconds.
    """
    with reading(path) as connection, one_snapshot(connection, path, budget):
        version = check_ours(connection, path)
        store_id = _first(connection, "store", "store_id")
        sessions = _first(connection, "session", "count(*)")
    return Facts(version, str(store_id), int(sessions or 0))


def _first(connection: Connection, table: str, value: str) -> Any:
    """None where there is no row, or no such table: what is missing the deep check says."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is None:
        return None
    row = connection.execute(f"SELECT {value} FROM {table}").fetchone()
    return None if row is None else row[0]


def schema_of(path: str, budget: float) -> int:
    """The schema version of a file of ours; 0 for an empty one. Raises what ``look_at`` does."""
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
    """The file is of a program that is newer than this one."""
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


def check_whole(path: str) -> None:
    """Look at every page of a file, and at every reference. Raises StorageFailure (``corrupt``) for what is wrong."""
    with reading(path) as connection:
        complaints = integrity(connection)
        if complaints:
            raise StorageFailure(
                StorageReason.CORRUPT, f"{path} is damaged ({complaints[0]}); use another backup", path
            )
        problems = deep_check(connection)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise StorageFailure(
            StorageReason.CORRUPT,
            f"{path} is a store that does not hold what it should: {problems[0].text}{more}. "
            f"Use another backup, or mend a copy of it: mandrake-sessions doctor --fix --database {path}",
            path,
        )


def integrity(connection: Connection) -> list[str]:
    """What SQLite finds wrong with the file's pages and indexes; at most so many."""
    statement = f"PRAGMA integrity_check({_INTEGRITY_ROWS})"
    rows = interruptible(connection, lambda: connection.execute(statement).fetchall())
    return [] if rows == _WHOLE else [" ".join(str(row[0]).split()) for row in rows]


def broken_references(connection: Connection) -> list[str]:
    """Rows that point to rows that are not there, counted by table."""
    statement = 'SELECT "table", count(*) FROM pragma_foreign_key_check GROUP BY 1 ORDER BY 1'
    rows = interruptible(connection, lambda: connection.execute(statement).fetchall())
    return [f"{count} of {table} belong to nothing" for table, count in rows]
