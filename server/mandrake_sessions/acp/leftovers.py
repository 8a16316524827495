"""What a recorder that is gone has left open: responses of which no turn streams, so that the store itself, which ends
the turns of processes that are gone, has nothing to notice them by.

They are looked for where they can be: in a session that is taken up again, and, when a store is opened, in the sessions
of recorders that wait for somebody. Whether a recorder is gone the lease tells under which the last turn of such a
response has streamed.
"""

from __future__ import annotations

from typing import Final

from mandrake_sessions.fields import ToolCallUpdate
from mandrake_sessions.ids import now_ms
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import HistoryRound, ResponseStatus, SessionState, ToolCallStatus
from mandrake_sessions.operations.leases import interrupt_unattended

_NOT_ENDED: Final = (ResponseStatus.OPEN, ResponseStatus.REQUIRES_ACTION)
# Rounds of a session, and sessions of a store, that are looked at.
_ROUNDS: Final = 50
_SESSIONS: Final = 500


def end_all_left_waiting(manager: SessionManager) -> None:
    """Those of all sessions of recorders that wait for somebody. Raises StorageFailure, Busy."""
    found = manager.list_sessions(state=SessionState.REQUIRES_ACTION, source="acp", archived=None, limit=_SESSIONS)
    for session in found.sessions:
        end_left_open(manager, session.id, is_taken_up=False)


def end_left_open(manager: SessionManager, session_id: str, *, is_taken_up: bool = True) -> None:
    """Those of one session, from the latest round back to one that has ended, and the tool calls that were cut off
    with them. ``is_taken_up``: its agent goes on with it, so that a response which no process is known to have streamed
    is over too. Raises NotFound, StorageFailure, Busy."""
    cursor = None
    for _ in range(_ROUNDS):
        page = manager.history(session_id, limit=1, order="desc", cursor=cursor, include_text=False)
        for found in page.rounds:
            is_open = found.response.status in _NOT_ENDED
            if is_open:
                is_left = interrupt_unattended(manager.store, found.response.id, also_unknown=is_taken_up)
            else:
                is_left = found.response.status is ResponseStatus.INTERRUPTED
            if is_left:
                _end_calls(manager, found)
            if not is_open:
                return
        cursor = page.next_cursor
        if cursor is None:
            return


def _end_calls(manager: SessionManager, found: HistoryRound) -> None:
    """Nobody will say how they ended."""
    for turn in found.response.turns:
        for call in turn.tool_calls:
            if call.status in (ToolCallStatus.PENDING, ToolCallStatus.IN_PROGRESS):
                metadata = {**call.metadata, "unfinished": True}
                fields: ToolCallUpdate = {"id": call.id, "status": ToolCallStatus.FAILED, "metadata": metadata}
                manager.upsert_tool_call(turn.id, {**fields, "end_time": now_ms()})
