"""Other programs' SQLite databases, which are only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mandrake_sessions.errors import SessionsError
from mandrake_sessions.store.sqlite.immediate import begin_reading


class ForeignUnreadable(SessionsError):
    """A file is no SQLite database, or cannot be read as one."""


class ForeignDatabase:
    """A database of another program, with what stands in its -wal. Use it as a context manager. All of it raises
    ForeignUnreadable."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> Self:
        uri = Path(self._path).absolute().as_uri()
        try:
            self._connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None)
            self._connection.execute("PRAGMA trusted_schema = OFF")
            # One state for all reads, whatever its program writes meanwhile.
            begin_reading(self._connection)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def tables(self) -> dict[str, set[str]]:
        """The names of the tables, each with those of its columns."""
        statement = "SELECT name FROM sqlite_schema WHERE type = 'table'"
        return {name: self._columns(name) for (name,) in self._read(statement, ())}

    def rows(
        self, table: str, columns: Sequence[str], where: Mapping[str, Any] | None = None, order: str = "rowid"
    ) -> Iterator[dict[str, Any]]:
        """Rows in an order, read while they are asked for; those with these values alone. A column that the table lacks
        is None."""
        present = self._columns(table)
        wanted = ", ".join(_quoted(name) if name in present else f"NULL AS {_quoted(name)}" for name in columns)
        given = where or {}
        condition = " AND ".join(f"{_quoted(name)} = ?" for name in given) or "true"
        by = order if order == "rowid" else _quoted(order)
        statement = f"SELECT {wanted} FROM {_quoted(table)} WHERE {condition} ORDER BY {by}"
        for row in self._read(statement, tuple(given.values())):
            yield dict(zip(columns, row, strict=True))

    def _columns(self, table: str) -> set[str]:
        return {name for (name,) in self._read("SELECT name FROM pragma_table_info(?)", (table,))}

    def _read(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.Error) -> ForeignUnreadable:
        return ForeignUnreadable(f"{self._path} cannot be read as a SQLite database: {error}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
