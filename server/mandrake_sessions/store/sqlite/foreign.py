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
        self,
        table: str,
        columns: Sequence[str],
        where: Mapping[str, Any] | None = None,
        order: Sequence[str] = ("rowid",),
        most: int | None = None,
        above: tuple[str, int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Rows in an order, read while they are asked for; those with these values alone, and with a number above this
        one in a column. A column that the table lacks is None, and so is a value of more than ``most`` bytes."""
        present = self._columns(table)
        wanted = ", ".join(_wanted(name, present, most) for name in columns)
        given = where or {}
        conditions = [f"{_quoted(name)} = ?" for name in given]
        if above is not None:
            conditions.append(f"{_quoted(above[0])} > {above[1]:d}")
        condition = " AND ".join(conditions) or "true"
        by = ", ".join(name if name == "rowid" else _quoted(name) for name in order)
        statement = f"SELECT {wanted} FROM {_quoted(table)} WHERE {condition} ORDER BY {by}"
        for row in self._read(statement, tuple(given.values())):
            yield dict(zip(columns, row, strict=True))

    def extents(self, table: str, by: str, changed: str, text: str) -> dict[Any, tuple[int, int, int]]:
        """For each value of a column: how many rows have it, the highest of their times of change, and the bytes of
        their texts."""
        # SQLite would put the texts into the groups that it sorts.
        statement = (
            f"SELECT {_quoted(by)}, CAST({_quoted(changed)} AS INTEGER), length(CAST({_quoted(text)} AS BLOB))"
            f" FROM {_quoted(table)}"
        )
        found: dict[Any, tuple[int, int, int]] = {}
        for value, time, size in self._read(statement, ()):
            count, latest, total = found.get(value, (0, 0, 0))
            found[value] = (count + 1, max(latest, time or 0), total + (size or 0))
        return found

    def _columns(self, table: str) -> set[str]:
        return {name for (name,) in self._read("SELECT name FROM pragma_table_info(?)", (table,))}

    def _read(self, statement: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        try:
            # Not `yield from`, which closes the cursor at an end, and cannot when the database is closed already.
            for row in self._connection.execute(statement, values):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.Error) -> ForeignUnreadable:
        return ForeignUnreadable(f"{self._path} cannot be read as a SQLite database: {error}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _wanted(name: str, present: set[str], most: int | None) -> str:
    column = _quoted(name)
    if name not in present:
        return f"NULL AS {column}"
    return column if most is None else f"CASE WHEN length(CAST({column} AS BLOB)) <= {most} THEN {column} END"
