"""What every entity needs: insert a row, update a row by its pk, and ``NotFound`` where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from mandrake_sessions.errors import NotFound
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.values import OddValue, byte_length

T = TypeVar("T")

# Times that the store gives by itself. The clock may be set back, and still none lies before its entity's creation.
_OWN_TIMES = {
    "session": {"updated_at", "archived_at"},
    "round": {"updated_at"},
    "request": {"updated_at"},
    "response": {"updated_at"},
    "turn": {"updated_at"},
}
# Times that an update never sets back.
_LATEST_TIMES = {"session": {"active_at"}}


def insert(tx: Transaction, table: str, row: Mapping[str, Any]) -> None:
    """Insert one row; the keys are column names, from our own code alone, and the last is no long text."""
    _execute(tx, _insert_sql(table, tuple(row)), tuple(row.values()))


def update(tx: Transaction, table: str, pk: int, columns: Mapping[str, Any], reckoned: str = "") -> None:
    """Set columns of the row with this pk; a time of the store's own is its entity's creation at the earliest.
    ``reckoned``: assignments of our own code whose values SQL finds."""
    if columns or reckoned:
        _execute(tx, _update_sql(tx.sql.dialect, table, tuple(columns), reckoned), (*columns.values(), pk))


def _execute(tx: Transaction, statement: str, values: tuple[Any, ...]) -> None:
    try:
        tx.sql.execute(statement, values)
    except OverflowError:
        # What comes from outside is checked before; so it was reckoned from a stored number that cannot be.
        raise OddValue("holds a number that is too large to count on from") from None
    tx.sql.release_large(statement, values)


def fetch_one(sql: Sql, statement: str, values: Sequence[Any]) -> Any:
    """The first row or None, for values that may be large; the last of them is short."""
    row = sql.execute(statement, values).fetchone()
    sql.release_large(statement, values)
    return row


def or_not_found(stored: T | None, entity: str, entity_id: str) -> T:
    """Raises NotFound where nothing is stored."""
    if stored is None:
        raise NotFound(entity, entity_id)
    return stored


def differs(sql: Sql, table: str, pk: int, columns: Mapping[str, Any]) -> bool:
    """Whether a row holds anything else than these columns."""
    if not columns:
        return False
    names = ", ".join(f'"{column}"' for column in columns)
    row = sql.execute(f"SELECT {names} FROM {table} WHERE pk = ?", (pk,)).fetchone()
    return bool(tuple(columns.values()) != row)


def row_bytes(row: Row) -> int:
    """How much text a row holds, in UTF-8."""
    return sum(byte_length(value) for value in row if isinstance(value, str))


def delete(tx: Transaction, table: str, column: str, values: Iterable[int]) -> int:
    """Delete the rows whose column has one of the values; gives how many."""
    return tx.sql.executemany(f"DELETE FROM {table} WHERE {column} = ?", ((v,) for v in values)).rowcount


@cache
def _insert_sql(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"


@cache
def _update_sql(dialect: Dialect, table: str, columns: tuple[str, ...], reckoned: str) -> str:
    # The greatest of NULL is NULL, so a time can be cleared.
    values = dict.fromkeys(_OWN_TIMES.get(table, ()), dialect.greatest("created_at", "?"))
    values |= {column: dialect.greatest(column, "?") for column in _LATEST_TIMES.get(table, ())}
    assignments = [f'"{column}" = {values.get(column, "?")}' for column in columns]
    return f"UPDATE {table} SET {', '.join([*assignments, *([reckoned] if reckoned else [])])} WHERE pk = ?"
