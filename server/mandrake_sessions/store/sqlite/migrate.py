"""Brings a file to the schema of this program, from the plain SQL in ``migrations/``.

A migration and its row in the ledger are one transaction, which reads the version again inside. Foreign keys are off
for it, since dropping a table deletes, by cascade, all that hangs from its rows; no table may lose or gain a row by a
migration, and every reference is checked before the COMMIT. So any number of
processes may start at once on one file. Each SQL file says which programs may still use a file after it: ``minWriter``
and ``minReader`` are the lowest schema versions that a program must know to write and to read it.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.sqlite.backup import back_up_before_migration
from mandrake_sessions.store.sqlite.failures import is_locked, primary_code
from mandrake_sessions.store.sqlite.immediate import immediate
from mandrake_sessions.store.sqlite.retry import retry_while_locked
from mandrake_sessions.value import Value
from mandrake_sessions.version import __version__

logger = logging.getLogger(__name__)

# "MAND": the number by which `file` and this program recognise the database.
APPLICATION_ID = 0x4D414E44

LEDGER = """
CREATE TABLE IF NOT EXISTS migration (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    min_writer INTEGER NOT NULL,
    min_reader INTEGER NOT NULL,
    applied_at INTEGER NOT NULL,
    program_version TEXT NOT NULL
) STRICT
"""
_NAME = re.compile(r"(\d{4})_\w+\.sql")
COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_REFUSED = re.compile(r"(BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE|VACUUM|ATTACH|DETACH|PRAGMA)\b", re.IGNORECASE)


@frozen(eq=False, repr=False)
class Migration(Value):
    """One file of ``migrations/``. ``sha256``: of its text with LF line ends."""

    version: int
    name: str
    sql: str
    min_writer: int
    min_reader: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def known_migrations() -> tuple[Migration, ...]:
    """All migrations of this program, by version, from 1 without gaps."""
    return read_migrations(_directory())


def read_migrations(directory: Path) -> tuple[Migration, ...]:
    """The migrations in a directory. Raises ValueError if one is missing, badly named or has no header."""
    found = sorted(
        (_read(entry) for entry in directory.iterdir() if entry.name.endswith(".sql")), key=lambda m: m.version
    )
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must count 0001, 0002 …; found {[m.name for m in found]}")
    return tuple(found)


def latest_version() -> int:
    """The schema version that this program reads and writes."""
    return known_migrations()[-1].version


def pending_migrations(version: int) -> list[str]:
    """The names of the migrations that a file of this schema version lacks."""
    return [migration.name for migration in known_migrations() if migration.version > version]


def migrate(connection: sqlite3.Connection, path: str, budget: float, *, keeps_backup: bool = True) -> None:
    """Apply the pending migrations, each in a transaction of its own. Does nothing on a current or newer file.

    With ``keeps_backup`` a file that holds data is first copied beside itself.

    Raises:
        StorageFailure: ``migrate``; the file is as it was before the migration that failed.
        Busy: another process held the lock for ``budget`` seconds.
    """
    # One copy is enough: of the file before all migrations. Until the file is in WAL mode, a reader may prevent a
    # COMMIT.
    copied: list[int] | None = [] if keeps_backup else None
    for migration in known_migrations():
        if user_version(connection) < migration.version:
            retry_while_locked(partial(_apply, connection, path, migration, budget, copied), budget, path)


def user_version(connection: sqlite3.Connection) -> int:
    """The schema version that the file states; 0 for a new file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def lowest_programs(connection: sqlite3.Connection) -> tuple[int, int]:
    """The lowest schema versions whose programs may still write and read this file: ``(min_writer, min_reader)``. If
    the ledger does not have the version that the file states, the file is left to programs that know that version."""
    version = user_version(connection)
    try:
        row = connection.execute("SELECT max(version), max(min_writer), max(min_reader) FROM migration").fetchone()
    except sqlite3.OperationalError as error:
        if is_locked(error) or "migration" not in str(error):
            raise
        return version, version
    return (version, version) if row[0] is None or row[0] < version else (int(row[1]), int(row[2]))


def _directory() -> Path:
    """The directory inside the installed package, or at the top of a checkout (an editable install has no copy)."""
    packaged = Path(__file__).parents[2] / "migrations"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[4] / "migrations"


def _read(entry: Path) -> Migration:
    match = _NAME.fullmatch(entry.name)
    if match is None:
        raise ValueError(f"{entry.name}: a migration is named NNNN_name.sql")
    sql = entry.read_text(encoding="utf-8").replace("\r\n", "\n")
    return Migration(
        int(match[1]), entry.name, sql, _header(sql, entry.name, "minWriter"), _header(sql, entry.name, "minReader")
    )


def _header(sql: str, name: str, key: str) -> int:
    match = re.search(rf"^-- {key}: (\d+)$", sql, re.MULTILINE)
    if match is None:
        raise ValueError(f"{name}: says no '-- {key}: N', the lowest program schema that may go on after it")
    return int(match[1])


def statements(sql: str) -> Iterator[str]:
    """The statements of a file, one by one. Raises ValueError for a statement that would end the transaction."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield _checked(pending)
            pending = ""
    if COMMENT.sub("", pending).strip():
        raise ValueError(f"the last statement has no end: {pending.strip()[:60]!r}")


def _checked(statement: str) -> str:
    bare = COMMENT.sub("", statement).lstrip()
    if match := _REFUSED.match(bare):
        raise ValueError(f"a migration may not use {match[0].upper()}; it runs inside one transaction")
    return statement


def _apply(
    connection: sqlite3.Connection, path: str, migration: Migration, budget: float, copied: list[int] | None
) -> None:
    """``copied``: the versions of which a copy exists already; None if no copy is wanted."""
    try:
        with _foreign_keys_off(connection), immediate(connection, path, budget):
            before = user_version(connection)
            if before >= migration.version:
                return
            if copied is not None and not copied and before > 0 and _holds_data(connection):
                back_up_before_migration(path, before)
                copied.append(before)
            _execute(connection, migration)
    except (sqlite3.Error, ValueError, OSError) as error:
        if isinstance(error, sqlite3.Error) and is_locked(error):
            raise
        raise StorageFailure(
            StorageReason.FULL if _is_full(error) else StorageReason.MIGRATE,
            f"Failed to run migrations: {migration.name} on {path}: {error}; the file is as it was before",
            path,
        ) from error


@contextmanager
def _foreign_keys_off(connection: sqlite3.Connection) -> Iterator[None]:
    """Inside a transaction they can be neither turned off nor on."""
    connection.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.execute("PRAGMA foreign_keys=ON")


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_FULL


def _holds_data(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM session)").fetchone()[0])


def _execute(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute(LEDGER)
    before = _row_counts(connection)
    for statement in statements(migration.sql):
        connection.execute(statement)
    _check_row_counts(before, _row_counts(connection))
    if broken := connection.execute("PRAGMA foreign_key_check").fetchall():
        raise ValueError(f"{len(broken)} rows point to rows that are not there, the first in {broken[0][0]}")
    if migration.version == 1:
        connection.execute("INSERT INTO store (store_id, created_at) VALUES (?, ?)", (str(uuid.uuid4()), now_ms()))
    record_migration(connection, migration)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={migration.version}")


def _row_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many rows each table has."""
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    tables = [name for (name,) in found]
    return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


def _check_row_counts(before: dict[str, int], after: dict[str, int]) -> None:
    for table, count in before.items():
        if after.get(table) != count:
            raise ValueError(f"table {table} had {count} rows, and would have {after.get(table, 'none: it is gone')}")


def record_migration(connection: sqlite3.Connection, migration: Migration) -> None:
    """Write its row into the ledger."""
    connection.execute(
        "INSERT INTO migration VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            migration.version,
            migration.name,
            migration.sha256,
            migration.min_writer,
            migration.min_reader,
            now_ms(),
            __version__,
        ),
    )


def changed_migrations(connection: sqlite3.Connection) -> list[str]:
    """Names of migrations whose text differs from what was applied to this file."""
    applied = dict(connection.execute("SELECT version, sha256 FROM migration"))
    return [m.name for m in known_migrations() if applied.get(m.version, m.sha256) != m.sha256]


def check_ledger(connection: sqlite3.Connection, path: str) -> None:
    """Warn of migrations whose text changed after they had been applied to this file."""
    for name in changed_migrations(connection):
        logger.warning("%s: migration %s changed after it had been applied to this file", path, name)
