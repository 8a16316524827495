"""Whatever passes, nothing is raised, and the events can be carried out."""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from acp.carried_out import Line, Outcome, carried_out
from mandrake_sessions.acp.conversation import Conversation

_NAMES: Final = st.sampled_from(["s", "t", "u", "x", "s2"])
_SESSIONS: Final = st.sampled_from(["s", "s", "s", "s", "t", "x"])
_TEXTS: Final = st.sampled_from(["", "a", "question", "\ud800", "[Request interrupted by user]", "é" * 10])
_LEAVES: Final = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | _NAMES
_VALUES: Final = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3), max_leaves=5
)
_BLOCKS: Final = st.sampled_from(
    [
        {"type": "text", "text": "a"}, {"type": "text", "text": "question"}, {"type": "image", "data": "AA=="},
        {"type": "resource", "resource": {"uri": "file:///x", "blob": "AA=="}}, {"type": "_odd"}, {},
        {"type": "resource_link", "uri": "x", "name": "n"},
    ]
)  # fmt: skip
_STATES: Final = st.sampled_from(["running", "idle", "requires_action", "unknown"])
_STATUSES: Final = st.sampled_from(["pending", "in_progress", "paused", "completed", "failed", "cancelled", "odd"])
_REASONS: Final = st.sampled_from(["end_turn", "cancelled", "refusal", "error", None])
_COUNTS: Final = st.integers(-1, 9) | st.sampled_from([2**70, 0.5, "1", float("nan"), float("inf")])
_CONTENT: Final = st.sampled_from(
    [{"type": "content", "content": {"type": "text", "text": "a"}}, {"type": "terminal", "terminalId": "x"}, {}, 1]
)
_USAGE: Final = st.fixed_dictionaries({}, optional={"inputTokens": _COUNTS, "outputTokens": _COUNTS})
# The members that are usual for each kind of update.
_KINDS: Final = {
    "agent_message_chunk": "content messageId", "agent_thought_chunk": "content messageId", "plan": "entries",
    "user_message_chunk": "content messageId", "user_message": "content messageId", "plan_removed": "planId",
    "agent_message": "content messageId", "agent_thought": "content messageId", "plan_update": "plan",
    "tool_call": "toolCallId title kind status content rawInput", "session_info_update": "title",
    "tool_call_update": "toolCallId status content rawOutput locations _meta", "notice": "title",
    "tool_call_content_chunk": "toolCallId content", "terminal_update": "terminalId output exitStatus",
    "terminal_output_chunk": "terminalId data", "state_update": "state stopReason usage",
    "usage_update": "used size cost _meta", "current_mode_update": "currentModeId", "odd": "content",
    "config_option_update": "configOptions", "compaction_update": "compactionId status summary",
    "compaction_summary_chunk": "compactionId content", "session_message": "messageId content",
    "session_message_chunk": "messageId content", "subagent_update": "sessionId title state",
}  # fmt: skip
_MEMBERS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "content": _BLOCKS | st.lists(_BLOCKS, max_size=2) | st.lists(_CONTENT, max_size=2) | _CONTENT,
    "messageId": _NAMES, "toolCallId": _NAMES, "terminalId": _NAMES, "planId": _NAMES, "compactionId": _NAMES,
    "sessionId": _NAMES, "status": _STATUSES, "state": _STATES | st.fixed_dictionaries({"state": _STATES}),
    "stopReason": _REASONS, "title": _TEXTS, "kind": _TEXTS, "rawInput": _VALUES, "rawOutput": _VALUES,
    "locations": _VALUES, "entries": st.lists(_VALUES, max_size=2), "data": st.sampled_from(["AA==", "no", "w6k="]),
    "output": st.none() | st.fixed_dictionaries({"data": st.just("AA==")}), "used": _COUNTS, "size": _COUNTS,
    "exitStatus": st.fixed_dictionaries({"exitCode": _COUNTS}), "usage": _USAGE, "currentModeId": _TEXTS,
    "cost": st.fixed_dictionaries({"amount": _COUNTS, "currency": _TEXTS}), "configOptions": _VALUES,
    "summary": st.lists(_BLOCKS, max_size=2), "plan": st.fixed_dictionaries({"planId": _NAMES, "content": _TEXTS}),
    "_meta": st.dictionaries(st.sampled_from(["claudeCode", "token", "a", "_claude/origin"]), _VALUES, max_size=2)
    | st.fixed_dictionaries({"claudeCode": st.fixed_dictionaries({"parentToolUseId": _NAMES})}),
}  # fmt: skip
_METHODS: Final = {
    "c": ("session/new", "session/load", "session/resume", "session/fork", "session/list", "session/prompt",
          "session/cancel", "session/set_mode", "session/set_config_option", "session/close", "authenticate", "odd",
          "session/prompt", "session/prompt", "initialize"),
    "a": ("session/request_permission", "elicitation/create", "terminal/create", "terminal/output",
          "terminal/wait_for_exit", "fs/read_text_file", "odd"),
}  # fmt: skip
_OPTIONS: Final = [{"optionId": "a", "kind": "allow_once", "name": "A"}, {"optionId": "r", "kind": "reject_once"}]


@st.composite
def _update(draw: st.DrawFn) -> Line:
    kind = draw(st.sampled_from(sorted(_KINDS)))
    members = {"sessionUpdate": kind, **{name: draw(_MEMBERS[name]) for name in _KINDS[kind].split()}}
    for name in draw(st.lists(st.sampled_from(sorted(members)), max_size=1)):
        members.pop(name, None)
    for name in draw(st.lists(st.sampled_from(sorted(_MEMBERS)), max_size=2)):
        members[name] = draw(_MEMBERS[name] | _VALUES)
    return "a", {"method": "session/update", "params": {"sessionId": draw(_SESSIONS), "update": members}}


@st.composite
def _request(draw: st.DrawFn) -> Line:
    side = draw(st.sampled_from("ca"))
    params = {
        "sessionId": draw(_SESSIONS), "cwd": "/p", "prompt": draw(st.lists(_BLOCKS, max_size=3)),
        "terminalId": draw(_NAMES),
        "toolCall": {"toolCallId": draw(_NAMES), "title": "T"}, "options": _OPTIONS, "message": draw(_TEXTS),
        "protocolVersion": draw(st.sampled_from([1, 2])), "modeId": draw(_TEXTS),
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(params)), max_size=2)):
        params[name] = draw(_VALUES)
    return side, {"id": draw(st.integers(0, 5)), "method": draw(st.sampled_from(_METHODS[side])), "params": params}


@st.composite
def _answer(draw: st.DrawFn) -> Line:
    result: dict[str, Any] = {
        "sessionId": draw(_NAMES), "stopReason": draw(_REASONS), "usage": draw(_USAGE), "messageId": draw(_NAMES),
        "outcome": {"outcome": "selected", "optionId": draw(st.sampled_from(["a", "r", "?"]))},
        "terminalId": draw(_NAMES),
        "output": draw(_TEXTS), "exitCode": draw(_COUNTS), "action": draw(st.sampled_from(["accept", "decline", "?"])),
        "sessions": [{"sessionId": draw(_NAMES), "title": draw(_TEXTS)}], "configOptions": draw(_VALUES),
        "protocolVersion": draw(st.sampled_from([1, 2])),
    }  # fmt: skip
    told: dict[str, Any] = draw(
        st.sampled_from([{"result": result}, {"error": {"code": 1, "message": "no"}}, {"result": None}])
    )
    return draw(st.sampled_from("ca")), {"id": draw(st.integers(0, 5)), **told}


_TRAFFIC: Final = st.lists(
    st.one_of(
        _update(), _update(), _request(), _answer(), st.tuples(st.sampled_from("ca"), st.just(5000)),
        st.tuples(st.sampled_from("ca"), _VALUES.filter(lambda value: not isinstance(value, int))),
        st.tuples(st.sampled_from("ca"), st.binary(max_size=40)),
    ),
    min_size=20,
    max_size=40,
)  # fmt: skip


class _Complaints(logging.Handler):
    """What the conversation has caught is a mistake here."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@settings(max_examples=80, deadline=None)
@given(_TRAFFIC, st.sampled_from([1, 2]), st.sampled_from(["some-agent", "opencode", "vibe", "gemini-cli"]))
def test_any_traffic(traffic: list[Line], version: int, name: str) -> None:
    logger, complaints = logging.getLogger("mandrake_sessions.acp.conversation"), _Complaints()
    logger.addHandler(complaints)
    try:
        begun: list[Line] = [
            ("c", {"id": 0, "method": "initialize", "params": {}}),
            ("a", {"id": 0, "result": {"protocolVersion": version, "agentInfo": {"name": name}}}),
            ("c", {"id": 1, "method": "session/new", "params": {"cwd": "/p"}}),
            ("a", {"id": 1, "result": {"sessionId": "s"}}),
        ]
        outcome = carried_out([*begun, *traffic])
    finally:
        logger.removeHandler(complaints)
    assert [record.getMessage() for record in complaints.records] == []
    for session in outcome.sessions.values():
        for round_ in session["rounds"]:
            assert round_["status"] != "open"
            assert not any(turn["is_open"] for turn in round_["turns"] if round_["status"] == "completed")
            assert all(turn["call"]["title"] != 1 for turn in round_["turns"] if turn.get("call", {}).get("title"))


def test_much_of_everything_is_forgotten() -> None:
    """Nothing grows with the traffic but what is still needed."""
    outcome = Outcome()
    events = 0

    def count(_: object) -> None:
        nonlocal events
        events += 1

    conversation = Conversation(count)
    for number in range(3000):
        for line in (
            {"id": number, "method": "session/new", "params": {"cwd": "/p"}},
            {"id": f"p{number}", "method": "session/prompt", "params": {"sessionId": "one", "prompt": []}},
        ):
            conversation.take("client", json.dumps(line).encode(), number)
        updates = [
            {"sessionUpdate": "tool_call", "toolCallId": f"t{number}", "title": "T", "content": [{"a": "x" * 2000}]},
            {
                "sessionUpdate": "agent_message_chunk",
                "messageId": f"m{number}",
                "content": {"type": "text", "text": "a"},
            },
        ]
        for update in updates:
            line = {"method": "session/update", "params": {"sessionId": "one", "update": update}}
            conversation.take("agent", json.dumps(line).encode(), number)
            line["params"] = {"sessionId": f"never{number}", "update": update}
            conversation.take("agent", json.dumps(line).encode(), number)
        conversation.take("agent", json.dumps({"id": number, "result": {"sessionId": f"s{number}"}}).encode(), number)
        conversation.take("agent", json.dumps({"id": f"p{number}", "result": {}}).encode(), number)
    assert events > 9000
    assert conversation.skipped > 4000
    assert _size(conversation) < 16 * 1024 * 1024
    assert outcome.sessions == {}


def _size(root: object) -> int:
    """About the bytes of all that an object holds."""
    seen: set[int] = set()
    waiting = [root]
    size = 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        size += len(value) if isinstance(value, str | bytes) else 50
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif hasattr(value, "__iter__") and not isinstance(value, str | bytes):
            waiting += list(value)
        waiting += [getattr(value, name) for name in getattr(type(value), "__slots__", ()) if hasattr(value, name)]
        if callable(value) and getattr(value, "__closure__", None):
            waiting += [cell.cell_contents for cell in value.__closure__ or ()]  # type: ignore[attr-defined]
    return size
