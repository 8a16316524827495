"""An ATIF document keeps the rules of the format, as its specification (RFC 0001, version 1.8) states them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import jsonschema

from mandrake_sessions import SessionManager
from mandrake_sessions.exports import export_session
from mandrake_sessions.model import Origin, ResponseStatus, TurnStatus


def _object(required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, COUNT, ANY = {"type": "string"}, {"type": "integer"}, {"type": "object"}
AMOUNT = {"type": "number"}
RESULT = _object({}, {"source_call_id": TEXT, "content": TEXT, "extra": ANY})
CALL = _object({"tool_call_id": TEXT, "function_name": TEXT, "arguments": ANY}, {"extra": ANY})
METRICS = _object(
    {},
    {"prompt_tokens": COUNT, "completion_tokens": COUNT, "cached_tokens": COUNT, "cost_usd": AMOUNT, "extra": ANY},
)
OF_AGENTS = {
    "model_name": TEXT, "reasoning_content": TEXT, "tool_calls": {"type": "array", "items": CALL}, "metrics": METRICS
}  # fmt: skip
STEP = _object(
    {
        "step_id": {"type": "integer", "minimum": 1},
        "source": {"enum": ["system", "user", "agent"]},
        "message": TEXT,
    },
    {
        "timestamp": TEXT,
        "observation": _object({"results": {"type": "array", "items": RESULT}}, {}),
        "is_copied_context": {"type": "boolean"},
        "extra": ANY,
        **OF_AGENTS,
    },
)
FINAL = _object(
    {},
    {
        **{f"total_{name}_tokens": COUNT for name in ("prompt", "completion", "cached")},
        "total_cost_usd": AMOUNT,
        "total_steps": COUNT,
        "extra": ANY,
    },
)
TRAJECTORY = _object(
    {
        "schema_version": {"const": "ATIF-v1.8"},
        "agent": _object({"name": TEXT, "version": TEXT}, {"model_name": TEXT, "extra": ANY}),
        "steps": {"type": "array", "minItems": 1, "items": STEP},
    },
    {"session_id": TEXT, "trajectory_id": TEXT, "notes": TEXT, "final_metrics": FINAL, "extra": ANY},
)


def trajectory(manager: SessionManager, session_id: str) -> Any:
    """A document that keeps every rule."""
    with manager.snapshot():
        found = json.loads(export_session(manager, session_id, "atif").content)
    jsonschema.Draft202012Validator(TRAJECTORY).validate(found)
    assert [step["step_id"] for step in found["steps"]] == list(range(1, len(found["steps"]) + 1))
    for step in found["steps"]:
        datetime.fromisoformat(step.get("timestamp", "2026-01-01T00:00:00Z"))
        assert step["source"] == "agent" or not OF_AGENTS.keys() & step.keys()
        calls = {call["tool_call_id"] for call in step.get("tool_calls", ())}
        results = step.get("observation", {"results": []})["results"]
        assert {result.get("source_call_id") for result in results} - {None} <= calls
    assert found["final_metrics"]["total_steps"] == len(found["steps"]) or "notes" in found
    return found


def test_a_conversation(manager: SessionManager) -> None:
    session = manager.create_session(title="A talk", agent="claude-code", external_id="x-1")
    made = manager.create_round(session.id, content="List the files.", blocks=[{"type": "text"}])
    ended: Any = {"status": "completed"}
    manager.create_turn(made.response.id, kind="thought", content="With ls.", thought_tokens=4, **ended)
    calls: list[Any] = [
        {"id": "c1", "method_name": "bash", "arguments": {"command": "ls"}, "response": "a\nb", "status": "completed"},
        {"id": "c2", "title": "Read a", "arguments": [1], "content": [{"type": "text"}], "status": "failed"},
        {"id": "c3", "arguments": None},
    ]
    manager.create_turn(
        made.response.id,
        content="I look.",
        tool_calls=calls,
        model="m-1",
        input_tokens=9,
        output_tokens=3,
        cost=0.25,
        **ended,
    )
    manager.create_turn(made.response.id, kind="tool_output", tool_call_id="c1", content="a\n", **ended)
    manager.create_turn(made.response.id, content="A", cost=0.5, currency="EUR", status=TurnStatus.CANCELLED)
    manager.create_round(session.id, content="", origin=Origin.AGENT)
    found = trajectory(manager, session.id)
    assert found["agent"] == {"name": "claude-code", "version": "unknown"}
    user, thought, look, output, last = found["steps"]
    assert (user["source"], user["message"]) == ("user", "List the files.")
    assert user["extra"]["round"]["blocks"] == [{"type": "text"}]
    assert (thought["message"], thought["reasoning_content"]) == ("", "With ls.")
    assert [call["function_name"] for call in look["tool_calls"]] == ["bash", "Read a", "unknown"]
    assert [call["arguments"] for call in look["tool_calls"]] == [{"command": "ls"}, {"value": [1]}, {}]
    assert [(each["source_call_id"], each["content"]) for each in look["observation"]["results"]] == [
        ("c1", "a\nb"), ("c2", '[{"type":"text"}]')
    ]  # fmt: skip
    assert look["metrics"] == {"prompt_tokens": 9, "completion_tokens": 3, "cost_usd": 0.25}
    assert output["source"] == "system"
    assert output["observation"]["results"] == [{"content": "a\n", "extra": {"toolCallId": "c1"}}]
    assert last["extra"]["turn"]["status"] == "cancelled"
    assert last["metrics"]["extra"] == {"cost": {"amount": 0.5, "currency": "EUR"}}
    final = found["final_metrics"]
    assert (final["total_prompt_tokens"], final["total_cost_usd"], final["total_steps"]) == (9, 0.25, 5)
    assert final["extra"] == {"thoughtTokens": 4, "cacheWriteTokens": 0, "costs": {"EUR": 0.5}}
    assert found["extra"]["externalId"] == "x-1"


def test_output_of_a_tool_loses_nothing(manager: SessionManager) -> None:
    session = manager.create_session().id
    made = manager.create_round(session, content="?")
    manager.create_turn(
        made.response.id,
        kind="tool_output",
        content="out",
        model="m-1",
        input_tokens=5,
        cost=1.5,
        currency="EUR",
        tool_calls=[{"id": "inner", "method_name": "bash", "response": "r"}],
        status=TurnStatus.COMPLETED,
    )
    found = trajectory(manager, session)
    extra = found["steps"][1]["extra"]
    assert extra["modelName"] == "m-1"
    assert extra["metrics"] == {"prompt_tokens": 5, "extra": {"cost": {"amount": 1.5, "currency": "EUR"}}}
    assert [call["tool_call_id"] for call in extra["tool_calls"]] == ["inner"]
    assert [result["content"] for result in extra["observation"]["results"]] == ["r"]
    assert "total_cost_usd" not in found["final_metrics"]


def test_times_have_one_form(manager: SessionManager) -> None:
    session = manager.create_session(created_at=1, metadata={"createdAt": 5}).id
    made = manager.create_round(session, content="?", created_at=1000)
    calls: list[Any] = [{"id": "1", "start_time": 1500, "end_time": 1600}]
    manager.create_turn(made.response.id, tool_calls=calls, stream_start_time=1500, status=TurnStatus.COMPLETED)
    manager.update_response(made.response.id, status=ResponseStatus.COMPLETED, end_time=2000)
    manager.update_session(session, archived=True)
    found = trajectory(manager, session)
    asked, said = found["steps"]
    (call,) = said["tool_calls"]
    about = [found["extra"], asked["extra"]["round"]["response"], said["extra"]["turn"], call["extra"]]
    times = [{name: text for name, text in each.items() if name.endswith(("At", "Time"))} for each in about]
    assert [sorted(each) for each in times] == [
        ["activeAt", "archivedAt", "createdAt", "updatedAt"],
        ["endTime"],
        ["createdAt", "endTime"],
        ["endTime", "startTime"],
    ]  # fmt: skip
    for text in (text for each in times for text in each.values()):
        assert datetime.fromisoformat(text).tzinfo is not None
    assert times[3] == {"startTime": "1970-01-01T00:00:01.500Z", "endTime": "1970-01-01T00:00:01.600Z"}
    assert found["extra"]["metadata"] == {"createdAt": 5}


def test_usage_of_a_response_counts_in_place_of_its_turns(manager: SessionManager) -> None:
    session = manager.create_session().id
    for _ in range(2):
        made = manager.create_round(session, content="?")
        manager.create_turn(made.response.id, input_tokens=5, output_tokens=7, status=TurnStatus.COMPLETED, cost=0.1)
    manager.update_response(made.response.id, usage={"input_tokens": 1000, "cost": 0.2})
    final = trajectory(manager, session)["final_metrics"]
    assert (final["total_prompt_tokens"], final["total_completion_tokens"]) == (1005, 14)
    assert final["total_cost_usd"] == 0.3


def test_a_session_without_rounds_is_a_valid_document(manager: SessionManager) -> None:
    found = trajectory(manager, manager.create_session().id)
    assert [(step["source"], step["message"]) for step in found["steps"]] == [("system", "")]
    assert "no steps" in found["notes"]


def test_a_turn_that_is_not_whole_in_memory(manager: SessionManager) -> None:
    session = manager.create_session().id
    made = manager.create_round(session, content="?")
    calls: list[Any] = [{"id": str(n), "arguments": {"n": n}, "response": "r" * 1000} for n in range(50)]
    turn = manager.create_turn(made.response.id, tool_calls=calls)
    for _ in range(3):
        manager.append_turn(turn.id, content="é" * 500_000)
    (_, step) = trajectory(manager, session)["steps"]
    assert step["message"] == "é" * 1_500_000
    assert [call["arguments"]["n"] for call in step["tool_calls"]] == list(range(50))
    assert [each["source_call_id"] for each in step["observation"]["results"]] == [str(n) for n in range(50)]
