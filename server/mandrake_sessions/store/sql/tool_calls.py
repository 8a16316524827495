"""SQL of tool calls, which hang from a turn in the order in which they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from mandrake_sessions.model import ToolCall, ToolCallStatus
from mandrake_sessions.store.interface import Dialect, Row, Sql, Transaction
from mandrake_sessions.store.sql.columns import TOOL_CALL, columns_from, decode_anything
from mandrake_sessions.store.sql.readable import readable
from mandrake_sessions.store.sql.rows import fetch_one, insert, update
from mandrake_sessions.store.sql.selection import Selection, field_names

_DEFAULTS = {
    "status": ToolCallStatus.PENDING.value,
    "arguments": "{}",
    "response": "null",
    "content": "null",
    "locations": "null",
    "metadata": "{}",
}
# Those that may be long.
_TEXTS = (
    "id", "title", "kind", "server_name", "method_name", "arguments", "response", "content", "locations", "metadata",
)  # fmt: skip
# The names of the fields, and numbers.
_FRAME_BYTES = 300

_SELECTION = Selection(
    "toolCall",
    columns_from("c", {**TOOL_CALL, "turn_pk": decode_anything, "pk": decode_anything}),
    field_names(ToolCall),
    beside=("turn_pk", "pk"),
)
_ID = _SELECTION.position("id")
_TURN_PK = _SELECTION.position("turn_pk")
_PK = _SELECTION.position("pk")
_DELETE = "DELETE FROM tool_call WHERE id = ? AND turn_pk = ?"


def insert_tool_calls(tx: Transaction, turn_pk: int, calls: Iterable[Mapping[str, Any]]) -> None:
    """New calls, from checked columns."""
    for call in calls:
        insert(tx, "tool_call", {**_DEFAULTS, **call, "turn_pk": turn_pk})


def upsert_tool_call(tx: Transaction, turn_pk: int, columns: Mapping[str, Any]) -> ToolCall | None:
    """Store a call, fields left out kept; None if that changed nothing."""
    before = _find(tx.sql, turn_pk, columns["id"])
    if before is None:
        insert_tool_calls(tx, turn_pk, [columns])
    else:
        update(tx, "tool_call", before[_PK], columns)
    after = _find(tx.sql, turn_pk, columns["id"])
    return None if after is None or after == before else _tool_call(after)


def read_all_named(sql: Sql, call_id: str) -> list[ToolCall]:
    """The calls of any turn with this id. Raises Unreadable where one of them cannot be read."""
    return [_tool_call(row) for row in sql.execute(_select(sql.dialect, "WHERE id = ?"), (call_id,))]


def find_tool_call(sql: Sql, turn_pk: int, call_id: str) -> ToolCall | None:
    row = _find(sql, turn_pk, call_id)
    return None if row is None else _tool_call(row)


def delete_tool_call(tx: Transaction, turn_pk: int, call_id: str) -> bool:
    """Whether it was there."""
    deleted = tx.sql.execute(_DELETE, (call_id, turn_pk)).rowcount == 1
    tx.sql.release_large(_DELETE, (call_id, turn_pk))
    return deleted


def tool_calls_of(sql: Sql, turn_pks: Iterable[int]) -> dict[int, list[ToolCall]]:
    """The calls of many turns, in one statement; one that cannot be read is left out."""
    calls: dict[int, list[ToolCall]] = defaultdict(list)
    rows = sql.execute(_of_turns(sql.dialect), (sql.dialect.numbers(turn_pks),))
    for turn_pk, call in readable(sql, rows, lambda row: (row[_TURN_PK], _tool_call(row))):
        calls[turn_pk].append(call)
    return calls


def each_tool_call(sql: Sql, turn_pk: int) -> Iterator[ToolCall]:
    """The calls of one turn, each read when it is asked for, and left out if it cannot be read."""
    return readable(sql, _rows_of(sql, turn_pk), _tool_call)


def stored_tool_calls(sql: Sql, turn_pk: int) -> Iterator[dict[str, Any]]:
    """The same as columns, with the values as they are stored."""
    return readable(sql, _rows_of(sql, turn_pk), _as_stored)


def _rows_of(sql: Sql, turn_pk: int) -> Iterator[Row]:
    # Their numbers first: SQLite would sort the rows, and hold all of them for that.
    pks = sql.execute("SELECT pk FROM tool_call WHERE turn_pk = ? ORDER BY pk", (turn_pk,)).fetchall()
    statement = _select(sql.dialect, "WHERE pk = ?")
    return (sql.execute(statement, pk).fetchone() for pk in pks)


def tool_call_bytes(sql: Sql, turn_pks: Iterable[int]) -> dict[int, int]:
    """About how many bytes the calls of each turn take in an answer."""
    rows = sql.execute(_bytes_of_turns(sql.dialect), (sql.dialect.numbers(turn_pks),))
    return {turn_pk: int(size) for turn_pk, size in rows}


def approximate_bytes(dialect: Dialect) -> str:
    """About how many bytes a call takes in an answer, as SQL; its row is ``c``."""
    lengths = (f"coalesce({dialect.byte_length(f'c.{text}')}, 0)" for text in _TEXTS)
    return f"{' + '.join(lengths)} + {_FRAME_BYTES}"


def _find(sql: Sql, turn_pk: int, call_id: str) -> Row | None:
    statement = _select(sql.dialect, "WHERE id = ? AND turn_pk = ?")
    row: Row | None = fetch_one(sql, statement, (call_id, turn_pk))
    return row


@cache
def _select(dialect: Dialect, rest: str) -> str:
    return f"SELECT {_SELECTION.sql(dialect)} FROM tool_call c {rest}"


@cache
def _of_turns(dialect: Dialect) -> str:
    return _select(dialect, f"WHERE {dialect.among('turn_pk')} ORDER BY turn_pk, pk")


@cache
def _bytes_of_turns(dialect: Dialect) -> str:
    return (
        f"SELECT turn_pk, sum({approximate_bytes(dialect)}) FROM tool_call c"
        f" WHERE {dialect.among('turn_pk')} GROUP BY turn_pk"
    )


def _as_stored(row: Row) -> dict[str, Any]:
    """Raises Unreadable; what is decoded for that is not kept."""
    _SELECTION.decode(row[_ID], row)
    return {name: value for name, value in zip(_SELECTION.names, row, strict=True) if name in TOOL_CALL}


def _tool_call(row: Row) -> ToolCall:
    return ToolCall(*_SELECTION.decode(row[_ID], row))
