"""What came from a conversation that was recorded while it went on hangs from the recorded session."""

from __future__ import annotations

import json

import pytest

from importing.importing import Place
from importing.transcripts import Claude, claude, codex, codex_event, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import ToolCallStatus, TurnStatus

ONE = "11111111-1111-4111-8111-111111111111"
TWO = "22222222-2222-4222-8222-222222222222"


def record(place: Place, agent: str, call: str, response: str) -> str:
    """A session of this agent that was recorded, with one tool call; gives its id."""
    with SessionManager(place.database) as manager:
        session = manager.create_session(agent=agent, external_id=ONE, source="acp")
        asked = manager.create_round(session.id, content="Delegate").response
        turn = manager.create_turn(asked.id, content="I do.", status=TurnStatus.COMPLETED)
        manager.upsert_tool_call(
            turn.id,
            {"id": call, "method_name": "spawn_agent", "status": ToolCallStatus.COMPLETED, "response": response},
        )
    return session.id


@pytest.mark.parametrize("agent", ["claude-code", "claude-code-acp"])
def test_subagents_and_forks_of_claude_code(place: Place, agent: str) -> None:
    parent = record(place, agent, "call_1", "Done.")
    talk = claude(place.home, ONE)
    talk.ask("Delegate")
    talk.say("I do.", "msg_1", requestSessionId=ONE)
    talk.write()
    child = Claude(talk.path.parent / ONE / "subagents" / "agent-abc.jsonl", ONE)
    child.ask("Look around", isSidechain=True, agentId="abc")
    child.say("I did", "msg_3", isSidechain=True, agentId="abc")
    child.write()
    child.path.with_suffix("").with_suffix(".meta.json").write_text(json.dumps({"toolUseId": "call_1"}))
    fork = claude(place.home, TWO)
    fork.records = [each | {"sessionId": TWO} for each in talk.records]
    fork.last = talk.last
    fork.ask("In the fork")
    fork.say("Yes.", "msg_4")
    fork.write()
    for _ in range(2):
        place.bring()
        found = {each.external_id: (each.relation, each.parent_id, each.parent_tool_call_id)
                 for each in place.sessions()}  # fmt: skip
        assert found == {
            ONE: (None, None, None), "abc": ("subagent", parent, "call_1"), TWO: ("fork", parent, None),
        }  # fmt: skip
    assert place.is_sound()


def test_a_subagent_of_codex_hangs_from_the_call_whose_answer_names_it(place: Place) -> None:
    parent = record(place, "codex", "call_7", json.dumps({"agent_id": TWO}))
    head = {"id": TWO, "timestamp": "2026-03-01T10:00:00Z", "parent_thread_id": ONE}
    lines = [codex("session_meta", head), codex_event("user_message", message="Look"), codex_item("assistant", "Seen.")]
    write_lines(codex_path(place.home, TWO), lines)
    place.bring()
    (child,) = [each for each in place.sessions() if each.external_id == TWO]
    assert (child.relation, child.parent_id, child.parent_tool_call_id) == ("subagent", parent, "call_7")
