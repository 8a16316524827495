"""Rows of the change feed, as the changes that they record."""

from __future__ import annotations

from typing import Any, NamedTuple

from mandrake_sessions.currencies import DEFAULT_CURRENCY
from mandrake_sessions.errors import NotFound, Unreadable
from mandrake_sessions.model import Change, ChangeKind, ToolCall, ToolCallStatus, Turn, TurnStatus
from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql.feed_values import check_change, check_piece
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.rounds import StoredRound, round_by_pk
from mandrake_sessions.store.sql.selection import picker
from mandrake_sessions.store.sql.values import OddValue, decode_json, decode_word, kept_cost


class Row(NamedTuple):
    """A row of the feed, with the text that stands under its seq and the names of what it is about."""

    seq: int
    kind: str
    round_pk: int | None
    chunk: int | None
    current_tokens: int | None
    output_tokens: int | None
    content: str | None
    raw_response: str | None
    data: str | None
    set_content: str | None
    set_raw_response: str | None
    turn_id: str | None
    turn_index: int | None
    session_id: str
    round_id: str | None
    response_id: str | None


_OF_OTHER_TABLES = {
    "set_content": "x.content",
    "set_raw_response": "x.raw_response",
    "turn_id": "t.id",
    "turn_index": 't."index"',
    "session_id": "s.id",
    "round_id": "r.id",
    "response_id": "p.id",
}
# The texts of a row, whatever is in them.
texts = picker(
    Row._fields,
    (
        "kind", "content", "raw_response", "data", "set_content", "set_raw_response",
        "turn_id", "session_id", "round_id", "response_id",
    ),
)  # fmt: skip
SELECT_ROWS = f"""
SELECT {", ".join(_OF_OTHER_TABLES.get(name, f"f.{name}") for name in Row._fields)}
FROM feed f
LEFT JOIN turn t ON t.pk = f.turn_pk
LEFT JOIN text x ON x.pk = f.seq AND f.kind IN ('created', 'updated')
LEFT JOIN session s ON s.pk = coalesce(t.session_pk, f.session_pk)
LEFT JOIN round r ON r.pk = coalesce(t.round_pk, f.round_pk)
LEFT JOIN response p ON p.pk = coalesce(t.round_pk, f.round_pk)
"""

# Which parts of its round a change carries, as they are now.
_PARTS = {
    ChangeKind.ROUND_CREATED: ("round", "request", "response"),
    ChangeKind.ROUND_UPDATED: ("round",),
    ChangeKind.REQUEST_UPDATED: ("request",),
    ChangeKind.RESPONSE_UPDATED: ("response",),
}
# The stored words of these: a request's is `sessionUpdated`, with the round.
_WITH_PARTS = frozenset({*_PARTS, ChangeKind.SESSION_UPDATED}) - {ChangeKind.REQUEST_UPDATED}
# Rows of before schema 4 do not have these.
_LATER_FIELDS = {"tool_call_id": None, "thought_tokens": None, "cost": None, "currency": DEFAULT_CURRENCY}
_COSTS = ("input_cost", "output_cost", "cost")


def read_change(sql: Sql, row: Row) -> tuple[Change, int]:
    """The change of a row, and about how many bytes of its round it carries. Raises OddValue: it is not one that could
    have been recorded."""
    try:
        stored = _round_of(sql, row)
        change = _change(row, stored)
        check_piece(change) if change.kind is ChangeKind.TURN_APPENDED else check_change(change)
    except OddValue:
        raise
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise OddValue(f"its data is not that of a change of this kind ({type(error).__name__})") from error
    return change, 0 if stored is None else stored.weight


def _round_of(sql: Sql, row: Row) -> StoredRound | None:
    """The round that a change carries parts of; None where that cannot be read: the change itself can."""
    if row.round_pk is None or row.kind not in _WITH_PARTS:
        return None
    try:
        return round_by_pk(sql, row.round_pk)
    except Unreadable as error:
        note(sql, error)
        return None
    except NotFound:
        raise OddValue("is about a round that is not there") from None


def _change(row: Row, stored: StoredRound | None) -> Change:
    """The change of a row. ``stored``: what ``_round_of`` gave for it."""
    kind = decode_word(ChangeKind, row.kind)
    if kind is ChangeKind.TURN_APPENDED:
        return _appended(row)
    data = {} if row.data is None else decode_json(row.data)
    where: dict[str, Any] = {
        "seq": row.seq,
        "kind": kind,
        "session_id": data.get("session_id") or row.session_id,
        "round_id": row.round_id,
        "response_id": row.response_id,
        "turn_id": row.turn_id,
        "index": row.turn_index,
    }
    if kind is ChangeKind.TURN_CREATED:
        turn = _turn_then(data, row)
        return Change(**where, status=turn.status, turn=turn)
    if kind is ChangeKind.TURN_UPDATED:
        return _turn_updated(data, row, where)
    if kind is ChangeKind.TOOL_CALL_DELETED:
        # A row of before 0.3.1 has no changes.
        known = {"tool_call_id": data["tool_call_id"], "changes": data.get("changes", {})}
        return Change(**where, status=decode_word(TurnStatus, data["status"]), **known)
    if kind is ChangeKind.TURN_DELETED:
        return Change(**where | data | {"status": decode_word(TurnStatus, data["status"])})
    if kind is ChangeKind.ROUND_DELETED:
        return Change(**where | {"round_id": data["round"]["id"], "response_id": None})
    if kind is ChangeKind.SESSION_UPDATED and stored is not None:
        kind = where["kind"] = ChangeKind.REQUEST_UPDATED
    parts = {} if stored is None else {part: getattr(stored.detail, part) for part in _PARTS[kind]}
    return Change(**where, **parts)


def _turn_updated(data: dict[str, Any], row: Row, where: dict[str, Any]) -> Change:
    """A change to a turn's own fields, or to one of its tool calls: the stored word is the same."""
    status = decode_word(TurnStatus, data["status"])
    texts = {"content": row.set_content, "raw_response": row.set_raw_response}
    changes = _with_kept_costs(data["changes"]) | {name: text for name, text in texts.items() if text is not None}
    calls = _decode_tool_calls(changes.pop("tool_calls", []))
    if not calls:
        return Change(**where, status=status, changes=changes)
    kind = ChangeKind.TOOL_CALL_UPDATED
    return Change(**where | {"kind": kind}, status=status, changes=changes, tool_call=calls[0])


def _appended(row: Row) -> Change:
    return Change(
        seq=row.seq,
        kind=ChangeKind.TURN_APPENDED,
        session_id=row.session_id,
        round_id=row.round_id,
        response_id=row.response_id,
        turn_id=row.turn_id,
        index=row.turn_index,
        status=TurnStatus.STREAMING,
        first_chunk=row.chunk,
        last_chunk=row.chunk,
        content=row.content,
        raw_response=row.raw_response,
        current_tokens=row.current_tokens,
        output_tokens=row.output_tokens,
    )


def _turn_then(data: dict[str, Any], row: Row) -> Turn:
    calls = _decode_tool_calls(data["tool_calls"])
    fields = (
        _LATER_FIELDS
        | _with_kept_costs(data)
        | {"status": decode_word(TurnStatus, data["status"]), "tool_calls": calls}
    )
    return Turn(**fields, content=row.set_content or "", raw_response=row.set_raw_response or "")


def _with_kept_costs(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a turn, with costs as the turn's row has them."""
    return fields | {name: kept_cost(fields[name]) for name in _COSTS if name in fields}


def _decode_tool_calls(calls: list[dict[str, Any]]) -> list[ToolCall]:
    return [ToolCall(**call | {"status": decode_word(ToolCallStatus, call["status"])}) for call in calls]
