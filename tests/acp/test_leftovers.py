"""What a recorder that was killed has left, once its session is taken up again."""

from __future__ import annotations

from pathlib import Path

from mandrake_sessions import SessionManager
from mandrake_sessions.acp.leftovers import end_left_open
from mandrake_sessions.fields import ToolCallFields
from mandrake_sessions.model import ResponseStatus, ToolCallStatus, TurnStatus


def test_calls_that_were_cut_off_have_failed(database: Path) -> None:
    with SessionManager(database) as manager:
        session = manager.create_session(source="acp").id
        response = manager.create_round(session, content="?").response.id
        running: ToolCallFields = {"id": "1", "status": ToolCallStatus.IN_PROGRESS}
        ended: ToolCallFields = {"id": "2", "status": ToolCallStatus.COMPLETED}
        manager.create_turn(response, tool_calls=[running, ended], status=TurnStatus.COMPLETED)
        manager.update_response(response, status=ResponseStatus.INTERRUPTED)
        end_left_open(manager, session)
        (turn,) = manager.list_turns(response).turns
        assert manager.get_response(response).status is ResponseStatus.INTERRUPTED
        assert [call.status for call in turn.tool_calls] == [ToolCallStatus.FAILED, ToolCallStatus.COMPLETED]
        assert turn.tool_calls[0].metadata == {"unfinished": True}
        assert turn.tool_calls[0].end_time is not None
