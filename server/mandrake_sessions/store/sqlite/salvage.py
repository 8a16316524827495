"""Copies what can still be read of a damaged database, row by row. ``copy_database`` copies pages, damaged ones too.

The copy has sound tables. Rows may be missing, so that the others do not fit together; ``mending.py`` mends that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

from attrs import frozen

from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.copying import full_disk_told
from mandrake_sessions.store.sqlite.failures import primary_code
from mandrake_sessions.store.sqlite.immediate import immediate, one_snapshot
from mandrake_sessions.store.sqlite.migrate import APPLICATION_ID
from mandrake_sessions.store.sqlite.reading import reading
from mandrake_sessions.store.sqlite.schema import columns_of, expected_parts
from mandrake_sessions.store.sqlite.verify import check_ours

_FIRST, _LAST = -(2**63), 2**63 - 1
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR)

Row = tuple[Any, ...]


@frozen
class Salvage:
    """``rows``: how many were copied. ``gaps``: in how many places of a table rows could not be read."""

    rows: int
    gaps: int


def salvage_database(source: str, destination: str, budget: float) -> Salvage:
    """Fill an empty file with the rows that can be read. The copy is one self-contained file, not yet synced.

    Raises:
        StorageFailure: nothing can be read, the source is no store of this program, or writing failed.
        Busy: another process held the lock of the source for ``budget`` seconds.
    """
    with (
        reading(source) as reader,
        one_snapshot(reader, source, budget),
        full_disk_told(destination),
        closing(_new(destination)) as writer,
        immediate(writer, destination, budget),
    ):
        version = check_ours(reader, source)
        parts = expected_parts(version)
        tables = [name for kind, name in parts if kind == "table"]
        for (kind, _), sql in parts.items():
            if kind == "table":
                writer.execute(sql)
        found = [_copy_rows(reader, writer, table) for table in tables]
        for (kind, _), sql in parts.items():
            if kind == "index":
                # Rows of a damaged page may break it; the deep check reports an index that is missing.
                with suppress(sqlite3.IntegrityError):
                    writer.execute(sql)
        writer.execute(f"PRAGMA user_version={version}")
    return Salvage(sum(each.rows for each in found), sum(each.gaps for each in found))


def _new(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    # Nobody uses the copy yet: after a crash it is thrown away.
    for setting in ("journal_mode=OFF", "synchronous=OFF", "auto_vacuum=INCREMENTAL"):
        connection.execute(f"PRAGMA {setting}").fetchone()
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    return connection


def _copy_rows(reader: StoreConnection, writer: sqlite3.Connection, table: str) -> Salvage:
    try:
        there = columns_of(reader, table)
    except sqlite3.DatabaseError:
        return Salvage(0, 1)
    columns = [name for name in columns_of(writer, table) if name in there]
    if not columns:
        return Salvage(0, 1)
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" for _ in columns)
    insert = f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({marks})'
    read = f'SELECT rowid, {names} FROM "{table}" NOT INDEXED WHERE rowid > ? ORDER BY rowid'
    rows = gaps = 0
    for row in _readable(reader, read):
        if row is None:
            gaps += 1
            continue
        try:
            rows += writer.execute(insert, row[1:]).rowcount
        except (sqlite3.IntegrityError, sqlite3.InterfaceError):
            # What stands there is no row of this table.
            gaps += 1
    return Salvage(rows, gaps)


def _readable(reader: StoreConnection, read: str) -> Iterator[Row | None]:
    """The rows that can be read, in the order of their rowids; None for each gap between them."""
    after: int | None = _FIRST
    while after is not None:
        last = after
        try:
            for row in reader.execute(read, (after,)):
                if row[0] <= last:
                    # The page before it pointed back: without this, reading would never end.
                    break
                last = row[0]
                yield row
            else:
                return
        except sqlite3.Error as error:
            if primary_code(error) not in _DAMAGE:
                raise
        yield None
        after = _behind_gap(reader, read, max(last, 0))


def _behind_gap(reader: StoreConnection, read: str, last: int) -> int | None:
    """The smallest rowid behind the gap after ``last`` from which a row can be read; None if there is none."""
    step = 1
    while not _can_read(reader, read, last + step):
        step *= 2
        if last + step >= _LAST:
            return None
    unreadable, readable = last + step // 2, last + step
    while readable - unreadable > 1:
        middle = (unreadable + readable) // 2
        unreadable, readable = (unreadable, middle) if _can_read(reader, read, middle) else (middle, readable)
    return readable


def _can_read(reader: StoreConnection, read: str, after: int) -> bool:
    """Whether the first row behind ``after`` can be read, or there is none."""
    try:
        row = reader.execute(read, (after,)).fetchone()
    except sqlite3.Error as error:
        if primary_code(error) not in _DAMAGE:
            raise
        return False
    return row is None or row[0] > after
