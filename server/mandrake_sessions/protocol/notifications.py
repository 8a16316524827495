"""From changes of the feed to notifications."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from mandrake_sessions.model import Change, ChangeKind, Session
from mandrake_sessions.protocol.converter import json_value, unstructure
from mandrake_sessions.protocol.names import camel
from mandrake_sessions.protocol.results import SessionUpdated, SessionUpdatedKind, TurnUpdatedKind

_TURN_KINDS: dict[ChangeKind, TurnUpdatedKind] = {
    ChangeKind.TURN_CREATED: "created",
    ChangeKind.TURN_APPENDED: "appended",
    ChangeKind.TURN_UPDATED: "updated",
    ChangeKind.TURN_DELETED: "deleted",
    ChangeKind.TOOL_CALL_UPDATED: "toolCallUpdated",
    ChangeKind.TOOL_CALL_DELETED: "toolCallDeleted",
    ChangeKind.ROUND_DELETED: "roundDeleted",
    ChangeKind.SESSION_DELETED: "sessionDeleted",
}
# What moves a session's updatedAt for another reason than its own kinds is told as `updated`.
_SESSION_KINDS: dict[ChangeKind, SessionUpdatedKind] = {
    ChangeKind.SESSION_CREATED: "created",
    ChangeKind.SESSION_UPDATED: "updated",
    ChangeKind.SESSION_DELETED: "deleted",
    ChangeKind.ROUND_CREATED: "roundCreated",
    ChangeKind.ROUND_UPDATED: "roundUpdated",
    ChangeKind.ROUND_DELETED: "roundDeleted",
    ChangeKind.REQUEST_UPDATED: "requestUpdated",
    ChangeKind.RESPONSE_UPDATED: "responseUpdated",
    ChangeKind.TURN_CREATED: "updated",
    ChangeKind.TURN_UPDATED: "updated",
    ChangeKind.TURN_DELETED: "updated",
    ChangeKind.TOOL_CALL_UPDATED: "updated",
    ChangeKind.TOOL_CALL_DELETED: "updated",
}


_OF_ROUNDS = frozenset(
    {
        ChangeKind.ROUND_CREATED,
        ChangeKind.ROUND_UPDATED,
        ChangeKind.ROUND_DELETED,
        ChangeKind.REQUEST_UPDATED,
        ChangeKind.RESPONSE_UPDATED,
    }
)


def concerns_turns(change: Change) -> bool:
    return change.kind in _TURN_KINDS


def concerns_sessions(change: Change) -> bool:
    return change.kind in _SESSION_KINDS


def turn_run(change: Change) -> object:
    """What neighbouring changes must share to be told as one ``turn/updated``: appends to one turn. None: nothing."""
    return change.turn_id if change.kind is ChangeKind.TURN_APPENDED else None


def session_run(change: Change) -> object:
    """The same for ``session/updated``: what is told as ``updated`` of one session."""
    return change.session_id if _SESSION_KINDS[change.kind] == "updated" else None


def joined_pieces(run: list[Change]) -> Change:
    """Appends to one turn as one, under the seq of the last."""
    return evolve(
        run[-1],
        first_chunk=run[0].first_chunk,
        content=_joined([change.content for change in run]),
        raw_response=_joined([change.raw_response for change in run]),
    )


def turn_updated(subscription_id: str, change: Change, *, raw: bool, text: bool) -> dict[str, Any]:
    """The params of ``turn/updated``."""
    params = {
        "subscriptionId": subscription_id,
        "seq": change.seq,
        "kind": _TURN_KINDS[change.kind],
        "sessionId": change.session_id,
        "roundId": change.round_id,
        "responseId": change.response_id,
        "turnId": change.turn_id,
        "index": change.index,
        "status": change.status,
    }
    raw = raw and text
    if change.kind is ChangeKind.TURN_APPENDED:
        _add_piece(params, change, raw=raw, text=text)
    elif change.turn is not None:
        params["turn"] = _left_out(unstructure(change.turn), raw=raw, text=text)
    elif change.changes is not None:
        moved = {camel(name): json_value(value) for name, value in change.changes.items()}
        params["changes"] = _left_out(moved, raw=raw, text=text)
    if change.tool_call is not None:
        params["toolCall"] = unstructure(change.tool_call)
    elif change.tool_call_id is not None:
        params["toolCallId"] = change.tool_call_id
    return params


def _add_piece(params: dict[str, Any], change: Change, *, raw: bool, text: bool) -> None:
    params["firstChunk"], params["lastChunk"] = change.first_chunk, change.last_chunk
    if text:
        params["content"] = change.content or ""
    if raw and change.raw_response is not None:
        params["rawResponse"] = change.raw_response
    params["currentTokens"], params["outputTokens"] = change.current_tokens, change.output_tokens


def session_updated(subscription_id: str, change: Change, session: Session | None) -> dict[str, Any]:
    """The params of ``session/updated``; ``session`` as it is now, None where it is gone.

    Who keeps the session skips what is not above its ``seq``. So it has that of this change, where others came after
    it: what those say of rounds is still to be told.
    """
    if session is not None and session.seq > change.seq:
        session = evolve(session, seq=change.seq)
    params: dict[str, Any] = unstructure(
        SessionUpdated(
            subscription_id=subscription_id,
            seq=change.seq,
            kind=_SESSION_KINDS[change.kind],
            session_id=change.session_id,
            round_id=change.round_id if change.kind in _OF_ROUNDS else None,
            session=session,
            round=change.round,
            request=change.request,
            response=change.response,
        )
    )
    return params


def _joined(texts: list[str | None]) -> str | None:
    present = [text for text in texts if text is not None]
    return "".join(present) if present else None


def _left_out(turn: dict[str, Any], *, raw: bool, text: bool) -> dict[str, Any]:
    """A turn, or changes of one, without the texts that were not asked for."""
    if not raw:
        turn.pop("rawResponse", None)
    if not text:
        turn.pop("content", None)
    return turn
