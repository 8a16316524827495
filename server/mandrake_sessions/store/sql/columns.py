"""What each column may hold: one declaration a table, for the statements that select columns, for the readers of their
rows (see ``selection.py``) and for the deep check.

A column that is not named here (a newer schema's) may hold anything. Texts that may be long are left out where nothing
but being UTF-8 is asked of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from mandrake_sessions.model import (
    Origin,
    Relation,
    ResponseStatus,
    SessionState,
    ToolCallStatus,
    TurnStatus,
)
from mandrake_sessions.store.interface import Dialect
from mandrake_sessions.store.sql.values import (
    Decoder,
    decode_array,
    decode_bytes,
    decode_cost,
    decode_integer,
    decode_json,
    decode_name,
    decode_number,
    decode_object,
    decode_seq,
    decode_text,
    decode_uuid,
    optional,
    word_of,
)
from mandrake_sessions.value import Value


@frozen(eq=False, repr=False)
class Column(Value):
    """A column as a SELECT reads it: its name in the table, its SQL, which may depend on the dialect, and what its
    value may be."""

    name: str
    sql: str | Callable[[Dialect], str]
    decode: Decoder


def columns_from(alias: str, table: Mapping[str, Decoder]) -> dict[str, Column]:
    """The columns of a table, by their names, for a SELECT that calls the table ``alias``."""
    return {name: Column(name, f'{alias}."{name}"', decode) for name, decode in table.items()}


def decode_anything(stored: Any) -> Any:
    """The stored value: it is checked where it is used, or nothing can be wrong with it."""
    return stored


_MADE: Final[Mapping[str, Decoder]] = {
    "create_hash": optional(decode_bytes),
    "created_at": decode_integer,
    "updated_at": decode_integer,
}

SESSION: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "id": decode_uuid,
    "seq": decode_seq,
    "external_id": optional(decode_text),
    "agent": optional(decode_text),
    "source": optional(decode_text),
    "cwd": optional(decode_text),
    "title": optional(decode_text),
    "description": optional(decode_text),
    "preview": optional(decode_text),
    "metadata": decode_object,
    "parent_id": optional(decode_uuid),
    "relation": optional(word_of(Relation)),
    "parent_tool_call_id": optional(decode_text),
    "forked_from_round_id": optional(decode_uuid),
    "archived_at": optional(decode_integer),
    "round_count": decode_number,
    "next_round_index": decode_number,
    "state": word_of(SessionState),
    "active_at": decode_integer,
    "copying_lease": optional(decode_uuid),
    **_MADE,
}

ROUND: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "id": decode_uuid,
    "session_pk": decode_seq,
    "index": decode_number,
    "origin": word_of(Origin),
    "copied_from_id": optional(decode_uuid),
    "metadata": decode_object,
    **_MADE,
}

REQUEST: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "id": decode_uuid,
    "created_at": decode_integer,
    "updated_at": decode_integer,
    "blocks": optional(decode_array),
    "content": decode_text,
}

RESPONSE: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "id": decode_uuid,
    "status": word_of(ResponseStatus),
    "stop_reason": optional(decode_text),
    "end_time": optional(decode_integer),
    "next_turn_index": decode_number,
    "created_at": decode_integer,
    "updated_at": decode_integer,
}

RESPONSE_USAGE: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "input_tokens": optional(decode_integer),
    "output_tokens": optional(decode_integer),
    "thought_tokens": optional(decode_integer),
    "cache_read_tokens": optional(decode_integer),
    "cache_write_tokens": optional(decode_integer),
    "context_used": optional(decode_integer),
    "context_size": optional(decode_integer),
    "cost": optional(decode_cost),
    "currency": optional(decode_name),
}

TURN: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "id": decode_uuid,
    "seq": decode_seq,
    "session_pk": decode_seq,
    "round_pk": decode_seq,
    "index": decode_number,
    "kind": decode_name,
    "tool_call_id": optional(decode_text),
    "status": word_of(TurnStatus),
    "error": optional(decode_text),
    "model": optional(decode_text),
    "stream_start_time": decode_integer,
    "stream_end_time": optional(decode_integer),
    "current_tokens": decode_integer,
    "expected_tokens": optional(decode_integer),
    "input_tokens": decode_integer,
    "output_tokens": decode_integer,
    "thought_tokens": optional(decode_integer),
    "cache_read_tokens": optional(decode_integer),
    "cache_write_tokens": optional(decode_integer),
    "input_cost": decode_cost,
    "output_cost": decode_cost,
    "cost": optional(decode_cost),
    "currency": decode_name,
    "metadata": decode_object,
    "chunk_count": decode_number,
    "folded_chunks": decode_number,
    "folded_bytes": decode_number,
    "content_pk": decode_seq,
    "raw_response_pk": decode_seq,
    "content_bytes": decode_number,
    "raw_response_bytes": decode_number,
    "lease": optional(decode_uuid),
    **_MADE,
}

TOOL_CALL: Final[Mapping[str, Decoder]] = {
    "id": decode_name,
    "title": optional(decode_text),
    "kind": optional(decode_text),
    "server_name": optional(decode_text),
    "method_name": optional(decode_text),
    "status": word_of(ToolCallStatus),
    "start_time": optional(decode_integer),
    "end_time": optional(decode_integer),
    "metadata": decode_object,
    "arguments": decode_json,
    "response": decode_json,
    "content": decode_json,
    "locations": decode_json,
}

TEXT: Final[Mapping[str, Decoder]] = {
    "pk": decode_seq,
    "turn_pk": decode_seq,
    "content": optional(decode_text),
    "raw_response": optional(decode_text),
}

STORE: Final[Mapping[str, Decoder]] = {
    "store_id": decode_uuid,
    "pruned_seq": decode_number,
    "copied_seq": decode_number,
    "created_at": decode_integer,
    "file_id": optional(decode_text),
}

# By the name of the table; `feed` is read as changes, see `changes.py`.
TABLES: Final[Mapping[str, Mapping[str, Decoder]]] = {
    "store": STORE,
    "session": SESSION,
    "round": ROUND,
    "request": REQUEST,
    "response": RESPONSE,
    "response_usage": RESPONSE_USAGE,
    "turn": TURN,
    "tool_call": TOOL_CALL,
    "text": TEXT,
}
