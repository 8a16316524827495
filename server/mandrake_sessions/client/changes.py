"""A turn after a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve

from mandrake_sessions.model import ToolCall, Turn
from mandrake_sessions.protocol.results import TurnUpdated


def apply(turn: Turn | None, update: TurnUpdated) -> Turn | None:
    """The turn that ``update`` is about, as it is after the change.

    ``turn``: as the caller knows it, or None if the caller does not know it. The result is None where there is no such
    turn any more, and where it has to be read (``turn_get``): it was created before the subscription began, and not
    read; or, after resuming, the update joins text that ``turn`` has with text that it does not have.
    A change that ``turn`` already holds (its ``seq`` is not above the turn's) changes nothing. Updates of the kinds
    ``roundDeleted`` and ``sessionDeleted`` name no turn: they end every turn of that round or session.

    Each append copies the text; a program that shows long texts keeps the pieces (``update.content``) instead.
    """
    if turn is not None and update.seq <= turn.seq:
        return turn
    if update.kind == "created":
        return update.turn
    if turn is None or update.kind in ("deleted", "roundDeleted", "sessionDeleted"):
        return None
    if update.first_chunk is not None and update.first_chunk < turn.chunk_count:
        return None
    changed: dict[str, Any] = dict(update.changes or {}) | {"seq": update.seq}
    if update.kind == "appended":
        changed |= _appended(turn, update)
    elif update.tool_call is not None:
        changed["tool_calls"] = _with_call(turn.tool_calls, update.tool_call)
    elif update.tool_call_id is not None:
        changed["tool_calls"] = [call for call in turn.tool_calls if call.id != update.tool_call_id]
    return evolve(turn, **changed)


def _appended(turn: Turn, update: TurnUpdated) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for text in ("content", "raw_response"):
        known, piece = getattr(turn, text), getattr(update, text)
        if known is not None and piece is not None:
            changed[text] = known + piece
    for count in ("current_tokens", "output_tokens"):
        if (given := getattr(update, count)) is not None:
            changed[count] = given
    if update.last_chunk is not None:
        changed["chunk_count"] = update.last_chunk + 1
    return changed


def _with_call(calls: Sequence[ToolCall], call: ToolCall) -> list[ToolCall]:
    """In place of the call with the same id, or at the end."""
    by_id = {known.id: known for known in calls} | {call.id: call}
    return list(by_id.values())
