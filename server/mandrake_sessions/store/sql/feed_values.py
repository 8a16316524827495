"""Whether a change that was read from the feed is one that could have been recorded there.

What a row of the feed says stands in JSON that anybody may have written, so it is checked before it is sent on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mandrake_sessions.model import Change, ChangeKind, ToolCall, Turn
from mandrake_sessions.store.sql import columns
from mandrake_sessions.store.sql.values import (
    MAX_NUMBER,
    Decoder,
    OddValue,
    decode_integer,
    decode_number,
    decode_real_cost,
    decode_text,
    decode_uuid,
    optional,
    shown,
)


def check_change(change: Change) -> None:
    """Raises OddValue for a change with a part that is missing, or is of another type than the model says."""
    decode_text(change.session_id)
    for name in _NEEDED.get(change.kind, ()):
        if getattr(change, name) is None:
            raise OddValue(f"has no {name}")
    for name, decode in _FIELDS.items():
        _check(name, decode, getattr(change, name))
    if change.turn is not None:
        _check_turn(change.turn)
    if change.changes is not None:
        _check_changes(change.changes)
    if change.tool_call is not None:
        _check_tool_call(change.tool_call)


def check_piece(change: Change) -> None:
    """The same for a piece of text, of which there are many: the types of its columns are seen to by SQLite."""
    if type(change.session_id) is not str or type(change.turn_id) is not str or type(change.response_id) is not str:
        raise OddValue("is a piece of a turn that is not there")
    if type(change.first_chunk) is not int or not 0 <= change.first_chunk <= MAX_NUMBER:
        raise OddValue(f"is a piece with the ordinal {shown(change.first_chunk)}")
    texts: tuple[Any, Any] = (change.content, change.raw_response)
    if any(isinstance(text, bytes) for text in texts):
        raise OddValue("is a piece that is not UTF-8 text")


def _anything(_stored: Any) -> None:
    """What the client itself made of it."""


def _object(stored: Any) -> None:
    if not isinstance(stored, dict):
        raise OddValue("is not an object")


def _no_check(stored: Any) -> None:
    # A word was looked up already, where it was read.
    if not isinstance(stored, str):
        raise OddValue(f"is {shown(stored)}, not a word")


_PLACE: Final = ("round_id", "response_id", "turn_id", "index")
# The kinds of a turn's changes, and what each cannot be without.
_NEEDED: Final[Mapping[ChangeKind, tuple[str, ...]]] = {
    ChangeKind.TURN_CREATED: (*_PLACE, "turn"),
    ChangeKind.TURN_APPENDED: (*_PLACE, "first_chunk", "last_chunk"),
    ChangeKind.TURN_UPDATED: (*_PLACE, "changes"),
    ChangeKind.TOOL_CALL_UPDATED: (*_PLACE, "tool_call", "changes"),
    ChangeKind.TOOL_CALL_DELETED: (*_PLACE, "tool_call_id"),
    ChangeKind.TURN_DELETED: _PLACE,
    ChangeKind.ROUND_DELETED: ("round_id",),
    ChangeKind.ROUND_CREATED: ("round_id", "round", "request", "response"),
    ChangeKind.ROUND_UPDATED: ("round_id", "round"),
    ChangeKind.REQUEST_UPDATED: ("round_id", "request"),
    ChangeKind.RESPONSE_UPDATED: ("round_id", "response"),
}
_FIELDS: Final[Mapping[str, Decoder]] = {
    "round_id": optional(decode_text),
    "response_id": optional(decode_text),
    "turn_id": optional(decode_uuid),
    "index": optional(decode_number),
    "first_chunk": optional(decode_number),
    "content": optional(decode_text),
    "raw_response": optional(decode_text),
    "current_tokens": optional(decode_integer),
    "output_tokens": optional(decode_integer),
    "tool_call_id": optional(decode_text),
}
# The fields of the model by the decoders of their columns; JSON is no text here, and words are words already.
_AS_IN_COLUMNS: Final = {"metadata": _object, "status": _no_check}
# A cost is a number of its currency here, not a number of 10^-9 of it.
_COSTS: Final = {"input_cost": decode_real_cost, "output_cost": decode_real_cost, "cost": optional(decode_real_cost)}
_TURN: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{field: columns.TURN[field] for field in Turn.__annotations__ if field in columns.TURN},
    **_AS_IN_COLUMNS,
    **_COSTS,
    "response_id": decode_text,
    "tool_calls": _anything,
    "content": optional(decode_text),
    "raw_response": optional(decode_text),
}
_TOOL_CALL: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{field: columns.TOOL_CALL[field] for field in ToolCall.__annotations__},
    **_AS_IN_COLUMNS,
    **dict.fromkeys(("arguments", "response", "content", "locations"), _anything),
}


def _check(name: str, decode: Callable[[Any], Any], value: Any) -> None:
    try:
        decode(value)
    except OddValue as error:
        raise OddValue(f"has an odd {name}: it {error}") from None


def _check_turn(turn: Turn) -> None:
    for name, decode in _TURN.items():
        _check(name, decode, getattr(turn, name))
    for call in turn.tool_calls:
        _check_tool_call(call)


def _check_changes(changes: Any) -> None:
    _object(changes)
    for name, value in changes.items():
        if name in _TURN and name != "tool_calls":
            _check(name, _TURN[name], value)
        else:
            raise OddValue(f"has a field {shown(name)}, which a turn does not have")


def _check_tool_call(call: ToolCall) -> None:
    for name, decode in _TOOL_CALL.items():
        _check(name, decode, getattr(call, name))
