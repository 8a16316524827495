"""SQL of tool calls, which hang from a turn in the order in which they came."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from sqlite3 import Connection
from typing import Any

from mandrake_sessions.model import ToolCall, ToolCallStatus
from mandrake_sessions.store.bindings import fetch_one, release_large
from mandrake_sessions.store.columns import TOOL_CALL, columns_from, decode_anything
from mandrake_sessions.store.oddities import readable
from mandrake_sessions.store.rows import insert, update
from mandrake_sessions.store.selection import Selection, field_names
from mandrake_sessions.store.transaction import Row, Transaction

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
    before = _find(tx.connection, turn_pk, columns["id"])
    if before is None:
        insert_tool_calls(tx, turn_pk, [columns])
    else:
        update(tx, "tool_call", before[_PK], columns)
    after = _find(tx.connection, turn_pk, columns["id"])
    return None if after is None or after == before else _tool_call(after)


def read_all_named(connection: Connection, call_id: str) -> list[ToolCall]:
    """The calls of any turn with this id. Raises Unreadable where one of them cannot be read."""
    return [_tool_call(row) for row in connection.execute(_SELECT + "WHERE id = ?", (call_id,))]


def find_tool_call(connection: Connection, turn_pk: int, call_id: str) -> ToolCall | None:
    row = _find(connection, turn_pk, call_id)
    return None if row is None else _tool_call(row)


def delete_tool_call(tx: Transaction, turn_pk: int, call_id: str) -> bool:
    """Whether it was there."""
    deleted = tx.execute(_DELETE, (call_id, turn_pk)).rowcount == 1
    release_large(tx.connection, _DELETE, (call_id, turn_pk))
    return deleted


def tool_calls_of(connection: Connection, turn_pks: Iterable[int]) -> dict[int, list[ToolCall]]:
    """The calls of many turns, in one statement; one that cannot be read is left out."""
    calls: dict[int, list[ToolCall]] = defaultdict(list)
    rows = connection.execute(
        f"{_SELECT} WHERE turn_pk IN (SELECT value FROM json_each(?)) ORDER BY turn_pk, pk",
        (json.dumps(list(turn_pks)),),
    )
    for turn_pk, call in readable(connection, rows, lambda row: (row[_TURN_PK], _tool_call(row))):
        calls[turn_pk].append(call)
    return calls


def each_tool_call(connection: Connection, turn_pk: int) -> Iterator[ToolCall]:
    """The calls of one turn, each read when it is asked for, and left out if it cannot be read."""
    # Their numbers first: SQLite would sort the rows, and hold all of them for that.
    pks = connection.execute("SELECT pk FROM tool_call WHERE turn_pk = ? ORDER BY pk", (turn_pk,)).fetchall()
    rows = (connection.execute(f"{_SELECT} WHERE pk = ?", pk).fetchone() for pk in pks)
    return readable(connection, rows, _tool_call)


def tool_call_bytes(connection: Connection, turn_pks: Iterable[int]) -> dict[int, int]:
    """About how many bytes the calls of each turn take in an answer."""
    return dict(
        connection.execute(
            f"SELECT turn_pk, sum({TOOL_CALL_BYTES}) FROM tool_call c"
            " WHERE turn_pk IN (SELECT value FROM json_each(?)) GROUP BY turn_pk",
            (json.dumps(list(turn_pks)),),
        ).fetchall()
    )


def _find(connection: Connection, turn_pk: int, call_id: str) -> Row | None:
    row: Row | None = fetch_one(connection, _SELECT + "WHERE id = ? AND turn_pk = ?", (call_id, turn_pk))
    return row


def _tool_call(row: Row) -> ToolCall:
    return ToolCall(*_SELECTION.decode(row[_ID], row))
