"""What passes at almost the same moment, in both directions and from several clients, is stored in its order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from acp.proxies import TIMEOUT, is_gone, proxy, until
from acp.test_ending import TELLS_PROCESSES
from acp.test_recording import Message, line
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Origin
from wire import store_of

_PROMPTS = 150


def _talk(workspace: Path, session: str, count: int) -> list[tuple[str, Message]]:
    """An agent that answers each prompt at once."""
    said: list[tuple[str, Message]] = [
        ("c2a", {"id": 0, "method": "initialize", "params": {"protocolVersion": 1}}),
        ("a2c", {"id": 0, "result": {"protocolVersion": 1, "agentInfo": {"name": "some-agent"}}}),
        ("c2a", {"id": 1, "method": "session/new", "params": {"cwd": str(workspace)}}),
        ("a2c", {"id": 1, "result": {"sessionId": session}}),
    ]
    for number in range(count):
        prompt = [{"type": "text", "text": f"{session} asks {number}"}]
        chunk = {
            "sessionUpdate": "agent_message_chunk",
            "content": {"type": "text", "text": f"{session} says {number}"},
        }
        said += [
            ("c2a", {"id": number + 2, "method": "session/prompt", "params": {"sessionId": session, "prompt": prompt}}),
            ("a2c", {"method": "session/update", "params": {"sessionId": session, "update": chunk}}),
            ("a2c", {"id": number + 2, "result": {"stopReason": "end_turn"}}),
        ]
    return said


@TELLS_PROCESSES
@pytest.mark.parametrize("sessions", [["one"], ["one", "two"]], ids=["one client", "two clients of one workspace"])
def test_no_answer_is_stored_before_its_question(workspace: Path, sessions: Sequence[str]) -> None:
    count = _PROMPTS // len(sessions)
    talks = {session: _talk(workspace, session, count) for session in sessions}
    with ExitStack() as held:
        made = {}
        for session, talk in talks.items():
            (workspace / session).write_text(json.dumps([(kind, line(each).decode()) for kind, each in talk]))
            made[session] = held.enter_context(proxy(workspace, "play", session))
        recorders = [each.recorder() for each in made.values()]
        for steps in zip(*talks.values(), strict=True):
            for session, (kind, message) in zip(talks, steps, strict=True):
                if kind == "c2a":
                    made[session].send(line(message))
                else:
                    assert made[session].line() == line(message)
        for each in made.values():
            each.finish_input()
            assert (each.process.wait(TIMEOUT), each.err) == (0, "")
    for recorder in recorders:
        until(lambda recorder=recorder: is_gone(recorder))  # type: ignore[misc]
    with SessionManager(store_of(workspace)) as manager:
        found = {
            each.external_id: manager.history(each.id, limit=count).rounds for each in manager.list_sessions().sessions
        }
    for session in sessions:
        rounds = found[session]
        assert [each.origin for each in rounds] == [Origin.USER] * count
        assert [each.request.content for each in rounds] == [f"{session} asks {number}" for number in range(count)]
        assert [[turn.content for turn in each.response.turns] for each in rounds] == [
            [f"{session} says {number}"] for number in range(count)
        ]
