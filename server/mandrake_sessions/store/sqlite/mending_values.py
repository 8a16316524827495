"""Mends single values: each gets one that its column may hold, and keeps what can be read of the old one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.store.sql.columns import TABLES
from mandrake_sessions.store.sql.values import (
    Decoder,
    decode_array,
    decode_cost,
    decode_integer,
    decode_json,
    decode_name,
    decode_number,
    decode_object,
    decode_real_cost,
    decode_seq,
    decode_text,
    decode_uuid,
)
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.deep_columns import decoders_of, odd_rows
from mandrake_sessions.store.sqlite.mending_feed import next_number

# How many values, or bytes of them, one step holds in memory.
_STEP_VALUES = 1000
_STEP_BYTES = 4 * 1024 * 1024

# The columns that refer to a row by its pk.
_CHILDREN = {
    "session": ("round.session_pk", "turn.session_pk", "feed.session_pk"),
    "round": ("request.pk", "response.pk", "response_usage.pk", "turn.round_pk", "feed.round_pk"),
    "turn": ("text.turn_pk", "tool_call.turn_pk", "feed.turn_pk"),
}


def mend_values(connection: StoreConnection) -> None:
    for table in TABLES:
        if table != "store":
            _mend_table(connection, table, decoders_of(connection, table))
    connection.execute("UPDATE turn SET stream_end_time = NULL WHERE status = 'streaming'")
    connection.execute(
        "UPDATE turn SET stream_end_time = max(updated_at, stream_start_time)"
        " WHERE status <> 'streaming' AND stream_end_time IS NULL"
    )
    connection.execute("UPDATE turn SET seq = pk WHERE seq < pk")
    for (pk,) in connection.execute("SELECT pk FROM session WHERE seq < pk").fetchall():
        connection.execute("UPDATE session SET seq = ? WHERE pk = ?", (next_number(connection), pk))


def _mend_table(connection: StoreConnection, table: str, decoders: dict[str, Decoder]) -> None:
    """A bounded number of values at a time, however many there are."""
    after: int | None = None
    while odd := _odd_values(connection, table, decoders, after):
        after = odd[-1][0]
        _replace(connection, table, decoders, odd)


def _odd_values(
    connection: StoreConnection, table: str, decoders: dict[str, Decoder], after: int | None
) -> list[tuple[int, str, Any]]:
    """The first unreadable values in the rows after ``after``, with their rows and columns: about ``_STEP_VALUES`` of
    them, or ``_STEP_BYTES``, of whole rows."""
    odd: list[tuple[int, str, Any]] = []
    size = 0
    for rowid, found in odd_rows(connection, table, decoders, after):
        for name, value, _ in found:
            odd.append((rowid, name, value))
            size += len(value) if isinstance(value, str | bytes) else 0
        if len(odd) >= _STEP_VALUES or size >= _STEP_BYTES:
            break
    return odd


def _replace(
    connection: StoreConnection, table: str, decoders: dict[str, Decoder], odd: list[tuple[int, str, Any]]
) -> None:
    # A pk last, since the other values are found by it.
    for rowid, name, value in sorted(odd, key=lambda found: found[1] == "pk"):
        if name == "pk":
            _renumber(connection, table, rowid)
        else:
            replacement = _replacement(connection, table, rowid, name, value, decoders[name])
            connection.execute(f'UPDATE {table} SET "{name}" = ? WHERE rowid = ?', (replacement, rowid))
            if (table, name) == ("turn", "lease"):
                _interrupt(connection, rowid)


def _interrupt(connection: StoreConnection, pk: int) -> None:
    """Interrupt a turn whose lease names no process. The values of its last piece go into its row, as at any end."""
    last = connection.execute(
        "SELECT chunk + 1, seq, current_tokens, output_tokens, content_bytes, raw_response_bytes FROM feed"
        " WHERE turn_pk = ? AND chunk >= (SELECT chunk_count FROM turn WHERE pk = ?) ORDER BY chunk DESC LIMIT 1",
        (pk, pk),
    ).fetchone()
    if last is not None:
        connection.execute(
            "UPDATE turn SET chunk_count = ?, seq = ?, current_tokens = ?, output_tokens = ?, content_bytes = ?,"
            " raw_response_bytes = ? WHERE pk = ? AND status = 'streaming'",
            (*last, pk),
        )
    now = now_ms()
    connection.execute(
        "UPDATE turn SET status = 'interrupted', stream_end_time = max(?, stream_start_time),"
        " updated_at = max(?, updated_at) WHERE pk = ? AND status = 'streaming'",
        (now, now, pk),
    )


def _renumber(connection: StoreConnection, table: str, pk: int) -> None:
    new = next_number(connection)
    if table == "text":
        # A text without a place is the beginning, unless the beginning exists.
        place = connection.execute(
            "SELECT content_pk FROM turn JOIN text ON turn_pk = turn.pk WHERE text.pk = ?", (pk,)
        )
        found = place.fetchone()
        taken = found is None or connection.execute("SELECT 1 FROM text WHERE pk = ?", found).fetchone() is not None
        new = new if taken else found[0]
    for child in _CHILDREN.get(table, ()):
        other, column = child.split(".")
        connection.execute(f"UPDATE {other} SET {column} = ? WHERE {column} = ?", (new, pk))
    connection.execute(f"UPDATE {table} SET pk = ? WHERE pk = ?", (new, pk))


def _replacement(connection: StoreConnection, table: str, rowid: int, name: str, value: Any, decode: Decoder) -> Any:
    special = _SPECIAL.get((table, name)) or _BY_NAME.get(name)
    if special is not None:
        return special(connection, table, rowid)
    if decode is decode_seq:
        return next_number(connection)
    if decode in _BY_DECODER:
        return _BY_DECODER[decode](value)
    # An optional value: keep what can be kept, else null.
    return value.decode(errors="replace") if isinstance(value, bytes) and name not in _NO_TEXTS else None


def _raw(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _kept(value: Any) -> str:
    """The text of a value that is not JSON of the right shape, as JSON."""
    return json.dumps({"_unreadable": _raw(value)})


_BY_DECODER: dict[Decoder, Callable[[Any], Any]] = {
    decode_object: _kept,
    decode_json: _kept,
    decode_array: lambda value: json.dumps([json.loads(_kept(value))]),
    decode_text: _raw,
    decode_name: lambda value: _raw(value) or "unknown",
    decode_uuid: lambda _: new_id(),
    decode_integer: lambda _: 0,
    decode_number: lambda _: 0,
    decode_cost: lambda _: 0,
    decode_real_cost: lambda _: 0.0,
}
_NO_TEXTS = frozenset({"parent_id", "forked_from_round_id", "copied_from_id", "relation", "lease"})


def _next_index(parent: str) -> Callable[[StoreConnection, str, int], Any]:
    def next_index(connection: StoreConnection, table: str, rowid: int) -> int:
        statement = (
            f'SELECT coalesce(max("index"), -1) + 1 FROM {table} WHERE "index" BETWEEN 0 AND 1000000000'
            f" AND {parent} = (SELECT {parent} FROM {table} WHERE rowid = ?)"
        )
        return int(connection.execute(statement, (rowid,)).fetchone()[0])

    return next_index


def _turn_status(connection: StoreConnection, _table: str, rowid: int) -> str:
    (ended,) = connection.execute("SELECT stream_end_time IS NOT NULL FROM turn WHERE pk = ?", (rowid,)).fetchone()
    return "completed" if ended else "interrupted"


def _own_pk(_connection: StoreConnection, _table: str, rowid: int) -> int:
    return rowid


def _now(_connection: StoreConnection, _table: str, _rowid: int) -> int:
    return now_ms()


_SPECIAL: dict[tuple[str, str], Callable[[StoreConnection, str, int], Any]] = {
    ("turn", "status"): _turn_status,
    ("turn", "currency"): lambda *_: DEFAULT_CURRENCY,
    # Another mend tells it from the rounds and turns.
    ("session", "state"): lambda *_: "idle",
    ("round", "origin"): lambda *_: "user",
    ("response", "status"): lambda *_: "open",
    ("tool_call", "status"): lambda *_: "completed",
    ("tool_call", "id"): lambda _connection, _table, rowid: f"unknown-{rowid}",
    ("turn", "content_pk"): _own_pk,
    ("turn", "raw_response_pk"): _own_pk,
    ("round", "index"): _next_index("session_pk"),
    ("turn", "index"): _next_index("round_pk"),
    ("request", "blocks"): lambda connection, _table, rowid: _blocks(connection, rowid),
}
_BY_NAME: dict[str, Callable[[StoreConnection, str, int], Any]] = {"created_at": _now, "updated_at": _now}


def _blocks(connection: StoreConnection, rowid: int) -> str:
    (value,) = connection.execute("SELECT blocks FROM request WHERE pk = ?", (rowid,)).fetchone()
    return json.dumps([json.loads(_kept(value))])
