"""From changes of the feed to notifications."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mandrake_sessions.model import Change, ChangeKind, Session
from mandrake_sessions.protocol.converter import unstructure
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.results import SessionUpdated, TurnUpdated

_TURN_KINDS = {
    ChangeKind.TURN_CREATED: "created",
    ChangeKind.TURN_APPENDED: "appended",
    ChangeKind.TURN_UPDATED: "updated",
    ChangeKind.TURN_DELETED: "deleted",
    ChangeKind.TOOL_CALL_DELETED: "deleted",
    ChangeKind.ROUND_DELETED: "deleted",
    ChangeKind.SESSION_DELETED: "deleted",
}
# What moves a session's updatedAt for another reason than its own kinds is told as `updated`.
_SESSION_KINDS = {
    ChangeKind.SESSION_CREATED: "created",
    ChangeKind.SESSION_UPDATED: "updated",
    ChangeKind.SESSION_DELETED: "deleted",
    ChangeKind.ROUND_CREATED: "roundCreated",
    ChangeKind.ROUND_UPDATED: "roundUpdated",
    ChangeKind.ROUND_DELETED: "roundDeleted",
    ChangeKind.RESPONSE_UPDATED: "responseUpdated",
    ChangeKind.TURN_CREATED: "updated",
    ChangeKind.TURN_UPDATED: "updated",
    ChangeKind.TURN_DELETED: "updated",
    ChangeKind.TOOL_CALL_DELETED: "updated",
}


def concerns_turns(change: Change) -> bool:
    return change.kind in _TURN_KINDS


def concerns_sessions(change: Change) -> bool:
    return change.kind in _SESSION_KINDS


def joined_pieces(first: Change, second: Change) -> Change | None:
    """Two appends to one turn as one, under the seq of the second; None where they cannot be one."""
    if not first.kind is second.kind is ChangeKind.TURN_APPENDED or first.turn_id != second.turn_id:
        return None
    return evolve(
        second,
        first_chunk=first.first_chunk,
        content=_joined(first.content, second.content),
        raw_response=_joined(first.raw_response, second.raw_response),
    )


def joined_updates(first: Change, second: Change) -> Change | None:
    """Two changes of one session that both are told as ``updated``, as one."""
    kinds = (_SESSION_KINDS.get(first.kind), _SESSION_KINDS.get(second.kind))
    return second if kinds == ("updated", "updated") and first.session_id == second.session_id else None


def turn_updated(subscription_id: str, change: Change, *, raw: bool, text: bool) -> dict[str, Any]:
    """The params of ``turn/updated``."""
    shown_raw = raw and text
    params: dict[str, Any] = unstructure(
        TurnUpdated(
            subscription_id=subscription_id,
            seq=change.seq,
            kind=_TURN_KINDS[change.kind],
            session_id=change.session_id,
            round_id=change.round_id,
            response_id=change.response_id,
            turn_id=change.turn_id,
            index=change.index,
            status=change.status,
            first_chunk=change.first_chunk,
            last_chunk=change.last_chunk,
            content=change.content if text else None,
            raw_response=change.raw_response if shown_raw else None,
            current_tokens=change.current_tokens,
            output_tokens=change.output_tokens,
            tool_call_id=change.tool_call_id,
        )
    )
    if change.turn is not None:
        params["turn"] = unstructure(change.turn)
        _leave_out(params["turn"], raw=shown_raw, text=text)
    if change.changes is not None:
        params["changes"] = {camel(name): unstructure(value) for name, value in change.changes.items()}
        _leave_out(params["changes"], raw=shown_raw, text=text)
    if change.kind is ChangeKind.TURN_APPENDED and text and change.content is None:
        params["content"] = ""
    return params


def session_updated(subscription_id: str, change: Change, session: Session | None) -> dict[str, Any]:
    """The params of ``session/updated``; ``session`` as it is now, None where it is gone."""
    params: dict[str, Any] = unstructure(
        SessionUpdated(
            subscription_id=subscription_id,
            seq=change.seq,
            kind=_SESSION_KINDS[change.kind],
            session_id=change.session_id,
            session=session,
            round=change.round,
            response=change.response,
        )
    )
    return params


def _joined(first: str | None, second: str | None) -> str | None:
    return first if second is None else second if first is None else first + second


def _leave_out(turn: dict[str, Any], *, raw: bool, text: bool) -> None:
    if not raw:
        turn.pop("rawResponse", None)
    if not text:
        turn.pop("content", None)
