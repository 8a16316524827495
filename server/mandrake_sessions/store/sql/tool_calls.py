"""SQL of tool calls, which hang from a turn in the order in which they came."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mandrake_sessions.model import ToolCall, ToolCallStatus
from mandrake_sessions.store.interface import Row, Sql, Transaction
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
# Of a row `c`. length() of a text counts characters and ends at a NUL; of a blob it counts bytes.
TOOL_CALL_BYTES = " + ".join(f"coalesce(length(CAST(c.{text} AS BLOB)), 0)" for text in _TEXTS) + " + 300"

_SELECTION = Selection(
    "toolCall",
    columns_from("c", {**TOOL_CALL, "turn_pk": decode_anything, "pk": decode_anything}),
    field_names(ToolCall),
    beside=("turn_pk", "pk"),
)
_SELECT = f"SELECT {_SELECTION.sql} FROM tool_call c "
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
    return [_tool_call(row) for row in sql.execute(_SELECT + "WHERE id = ?", (call_id,))]


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
    rows = sql.execute(
        f"{_SELECT} WHERE turn_pk IN (SELECT value FROM json_each(?)) ORDER BY turn_pk, pk",
        (json.dumps(list(turn_pks)),),
    )
    for turn_pk, call in readable(sql, rows, lambda row: (row[_TURN_PK], _tool_call(row))):
        calls[turn_pk].append(call)
    return calls


def each_tool_call(sql: Sql, turn_pk: int) -> Iterator[ToolCall]:
    """The calls of one turn, each read when it is asked for, and left out if it cannot be read."""
    # Their numbers first: SQLite would sort the rows, and hold all of them for that.
    pks = sql.execute("SELECT pk FROM tool_call WHERE turn_pk = ? ORDER BY pk", (turn_pk,)).fetchall()
    rows = (sql.execute(f"{_SELECT} WHERE pk = ?", pk).fetchone() for pk in pks)
    return readable(sql, rows, _tool_call)


def tool_call_bytes(sql: Sql, turn_pks: Iterable[int]) -> dict[int, int]:
    """About how many bytes the calls of each turn take in an answer."""
    return dict(
        sql.execute(
            f"SELECT turn_pk, sum({TOOL_CALL_BYTES}) FROM tool_call c"
            " WHERE turn_pk IN (SELECT value FROM json_each(?)) GROUP BY turn_pk",
            (json.dumps(list(turn_pks)),),
        ).fetchall()
    )


def _find(sql: Sql, turn_pk: int, call_id: str) -> Row | None:
    row: Row | None = fetch_one(sql, _SELECT + "WHERE id = ? AND turn_pk = ?", (call_id, turn_pk))
    return row


def _tool_call(row: Row) -> ToolCall:
    return ToolCall(*_SELECTION.decode(row[_ID], row))
