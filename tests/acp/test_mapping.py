"""What the messages of both directions come to: traffic of our own, by kind of rule."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from acp.carried_out import Line, Outcome, calls, carried_out, texts


def client(method: str, id: Any = None, **params: Any) -> Line:  # noqa: A002
    named = {} if id is None else {"id": id}
    return "c", {"jsonrpc": "2.0", **named, "method": method, "params": params}


def agent(method: str, id: Any = None, **params: Any) -> Line:  # noqa: A002
    return "a", client(method, id, **params)[1]


def answer(id: Any, side: Any = "a", /, **result: Any) -> Line:  # noqa: A002
    return side, {"jsonrpc": "2.0", "id": id, "result": result}


def failure(id: Any, message: str, /) -> Line:  # noqa: A002
    return "a", {"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": message}}


def update(kind: str, /, session: str = "s", **members: Any) -> Line:
    return agent("session/update", sessionId=session, update={"sessionUpdate": kind, **members})


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def message(said: str, /, session: str = "s", **members: Any) -> Line:
    return update("agent_message_chunk", session, content=text(said), **members)


def thought(said: str, **members: Any) -> Line:
    return update("agent_thought_chunk", content=text(said), **members)


def prompt(said: str, /, id: Any, session: str = "s") -> Line:  # noqa: A002
    return client("session/prompt", id, sessionId=session, prompt=[text(said)])


def called(status: str) -> Line:
    return update("tool_call_update", toolCallId="t", status=status)


def stop(id: Any, reason: str = "end_turn", **members: Any) -> Line:  # noqa: A002
    return answer(id, stopReason=reason, **members)


def opened(version: int = 1, name: str = "some-agent", session: str = "s") -> list[Line]:
    member = "agentInfo" if version == 1 else "info"
    return [
        client("initialize", 0, protocolVersion=version, clientInfo={"name": "editor", "version": "1"}),
        answer(0, protocolVersion=version, **{member: {"name": name, "version": "2"}}),
        client("session/new", 1, cwd="/p", mcpServers=[]),
        answer(1, sessionId=session),
    ]


def permission(id: Any, call: str = "t", /, **members: Any) -> Line:  # noqa: A002
    options = [
        {"optionId": "yes", "name": "Allow", "kind": "allow_once"},
        {"optionId": "no", "name": "Reject", "kind": "reject_once"},
    ]
    return agent(
        "session/request_permission", id, sessionId="s", toolCall={"toolCallId": call, **members}, options=options
    )


def chosen(id: Any, option: str) -> Line:  # noqa: A002
    return answer(id, "c", outcome={"outcome": "selected", "optionId": option})


def only(outcome: Outcome, session: str = "s") -> dict[str, Any]:
    (round_,) = outcome.rounds(session)
    return round_


# What is said in one prompt, and the turns that it comes to.
SAID: Mapping[str, tuple[list[Line], list[tuple[str, str]]]] = {
    "pieces are joined": ([message("a"), message("b")], [("message", "ab")]),
    "until another kind comes": (
        [thought("a"), message("b"), thought("c")],
        [("thought", "a"), ("message", "b"), ("thought", "c")],
    ),
    "until a tool call comes": (
        [message("a"), update("tool_call", toolCallId="t", title="T"), message("b")],
        [("message", "a"), ("message", "b")],
    ),
    "until somebody is asked": (
        [update("tool_call", toolCallId="t", title="T"), message("a"), permission(9), chosen(9, "yes"), message("b")],
        [("message", "a"), ("message", "b")],
    ),
    "messages have ids": (
        [message("a", messageId="1"), message("b", messageId="2"), message("c", messageId="1")],
        [("message", "ac"), ("message", "b")],
    ),
    "an id is one of a kind": (
        [thought("a", messageId="1"), message("b", messageId="1"), thought("c", messageId="1")],
        [("thought", "ac"), ("message", "b")],
    ),
    "a tool call does not part what an id joins": (
        [message("a", messageId="1"), update("tool_call", toolCallId="t", title="T"), message("b", messageId="1")],
        [("message", "ab")],
    ),
    "what a subagent says is kept apart": (
        [message("a"), message("b", _meta={"claudeCode": {"parentToolUseId": "t"}}), message("c")],
        [("message", "a"), ("message", "b"), ("message", "c")],
    ),
    "a picture is a turn of its own": (
        [message("a"), update("agent_message_chunk", content={"type": "image", "data": "AA=="}), message("b")],
        [("message", "a"), ("message", "[image]"), ("message", "b")],
    ),
    "a link is mentioned": (
        [update("agent_message_chunk", content={"type": "resource_link", "name": "n", "uri": "file:///x"})],
        [("message", "[n](file:///x)")],
    ),
    "a plan is put whole each time": (
        [
            update("plan", entries=[{"content": "one", "status": "pending"}]),
            message("a"),
            update("plan", entries=[{"content": "one", "status": "completed"}, {"content": "two"}]),
        ],
        [("plan", "- [x] one\n- [ ] two"), ("message", "a")],
    ),
    "plans have ids": (
        [
            update("plan_update", plan={"type": "items", "planId": "1", "entries": [{"content": "one"}]}),
            update("plan_update", plan={"type": "markdown", "planId": "2", "content": "# two"}),
            update("plan_removed", planId="1"),
        ],
        [("plan", "- [ ] one"), ("plan", "# two"), ("plan_removed", "")],
    ),
    "a notice": (
        [update("notice", severity="warning", title="Careful", description="It is hot.")],
        [("notice", "Careful\n\nIt is hot.")],
    ),
    "a compaction": (
        [
            update("compaction_update", compactionId="c", status="in_progress"),
            update("compaction_summary_chunk", compactionId="c", content=text("short")),
            update("compaction_update", compactionId="c", status="completed", summary=[text("In short.")]),
        ],
        [("compaction", "In short.")],
    ),
    "a message of another session": (
        [update("session_message", messageId="m", senderSessionId="x", content=[text("hello")])],
        [("session_message", "hello")],
    ),
    "an echo of the prompt is nothing new": (
        [
            update("user_message_chunk", content=text("ques")), update("user_message_chunk", content=text("tion")),
            message("a"), update("user_message_chunk", content=text("question")),
        ],
        [("message", "a")],
    ),
    "what somebody says while the agent works": (
        [message("a"), update("user_message_chunk", content=text("something else"))],
        [("message", "a"), ("user_message", "something else")],
    ),
    "members of a wrong kind are left out": (
        [
            update("agent_message_chunk", content="a"), update("agent_message_chunk"), update("plan", entries={}),
            update("tool_call", title="T"), ("a", {"method": "session/update", "params": [1]}), ("a", b"not JSON"),
            ("a", b'{"method":"session/update"}'), ("a", b"\xff\xfe"), ("a", [1, None]), ("a", "text"),
            ("a", b"[" * 100_000), message("b"),
        ],
        [("message", "b")],
    ),
    "messages of a batch": (
        [("a", [message("a")[1], message("b")[1]]), ("a", [message("c")[1]])],
        [("message", "abc")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("what", SAID)
def test_what_the_agent_says(what: str, version: int) -> None:
    traffic, expected = SAID[what]
    end = (
        [stop(2)]
        if version == 1
        else [answer(2, messageId="u"), update("state_update", state="idle", stopReason="end_turn")]
    )
    round_ = only(carried_out([*opened(version), prompt("question", 2), *traffic, *end]))
    assert texts(round_) == expected
    assert (round_["text"], round_["status"], round_["stop_reason"]) == ("question", "completed", "end_turn")
    assert not any(turn["is_open"] for turn in round_["turns"])


# What is said of calls in one prompt, and some members of what is stored of them.
CALLED: Mapping[str, tuple[list[Line], list[dict[str, Any]]]] = {
    "updates are merged": (
        [
            update("tool_call", toolCallId="t", title="Read", kind="read", status="pending", rawInput={}),
            update("tool_call_update", toolCallId="t", status="in_progress", rawInput={"path": "/x"}),
            update("tool_call_update", toolCallId="t", locations=[{"path": "/x", "line": 1}]),
            update(
                "tool_call_update", toolCallId="t", status="completed", rawOutput="text", title="Read x",
                content=[{"type": "diff", "path": "/x", "oldText": "a", "newText": "b"}],
            ),
        ],
        [{
            "id": "t", "title": "Read x", "kind": "read", "status": "completed", "arguments": {"path": "/x"},
            "response": "text", "locations": [{"path": "/x", "line": 1}],
            "content": [{"type": "diff", "path": "/x", "oldText": "a", "newText": "b"}],
        }],
    ),
    "one that is only updated": (
        [update("tool_call_update", toolCallId="t", title="T", status="completed")],
        [{"id": "t", "title": "T", "status": "completed"}],
    ),
    "one that does not end has failed": (
        [update("tool_call", toolCallId="t", title="T", status="in_progress")],
        [{"status": "failed", "metadata": {"unfinished": True}}],
    ),
    "one first heard of in a question": (
        [permission(0, title="Touch"), chosen(0, "yes"), called("completed")],
        [{"title": "Touch", "status": "completed"}],
    ),
    "one that is rejected": (
        [permission(0, title="Touch"), chosen(0, "no"), called("in_progress")],
        [{"status": "failed"}],
    ),
    "calls of a subagent": (
        [
            update("tool_call", toolCallId="t", title="Task", status="completed"),
            update(
                "tool_call", toolCallId="u", title="Read", status="completed",
                _meta={"claudeCode": {"toolName": "Read", "parentToolUseId": "t"}},
            ),
        ],
        [{"id": "t"}, {"id": "u", "method_name": "Read"}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CALLED)
def test_tool_calls(what: str) -> None:
    traffic, expected = CALLED[what]
    round_ = only(carried_out([*opened(), prompt("question", 2), *traffic, stop(2)]))
    found = calls(round_)
    assert [{name: call[name] for name in each} for call, each in zip(found, expected, strict=True)] == expected


def test_the_answer_to_a_question_is_kept() -> None:
    round_ = only(carried_out([*opened(), prompt("?", 2), permission(2), chosen(2, "no"), stop(2)]))
    (call,) = calls(round_)
    assert call["metadata"]["rejected"] is True
    kept = call["metadata"]["permission"]
    assert (kept["optionId"], kept["kind"], kept["name"]) == ("no", "reject_once", "Reject")
    assert [option["optionId"] for option in kept["options"]] == ["yes", "no"]
    assert round_["stood"] == ["requires_action", "open"]


def test_a_round_waits_until_every_question_is_answered() -> None:
    traffic = [permission(0, "t"), permission(1, "u"), chosen(1, "yes")]
    before = only(carried_out([*opened(), prompt("?", 2), *traffic], is_ended=False))
    assert before["stood"] == ["requires_action"]
    assert calls(before)[0]["metadata"]["permission"]["options"]
    after = only(carried_out([*opened(), prompt("?", 2), *traffic, chosen(0, "yes")], is_ended=False))
    assert after["stood"] == ["requires_action", "open"]


def test_a_question_that_is_cancelled() -> None:
    cancelled = answer(0, "c", outcome={"outcome": "cancelled"})
    traffic = [permission(0), client("session/cancel", sessionId="s"), cancelled, stop(2, "cancelled")]
    round_ = only(carried_out([*opened(), prompt("?", 2), *traffic]))
    (call,) = calls(round_)
    assert call["metadata"]["permission"]["outcome"] == "cancelled"
    assert (call["status"], call["metadata"]["cancelled"]) == ("failed", True)
    assert round_["status"] == "cancelled"


@pytest.mark.parametrize(("action", "status"), [("accept", "completed"), ("decline", "failed"), ("cancel", "failed")])
def test_an_elicitation_is_a_call_of_its_own(action: str, status: str) -> None:
    asked = agent(
        "elicitation/create", 0, sessionId="s", mode="form", message="Which?", requestedSchema={"type": "object"}
    )
    content = {"content": {"color": "red", "password": "hidden"}} if action == "accept" else {}
    round_ = only(carried_out([*opened(), prompt("?", 2), asked, answer(0, "c", action=action, **content), stop(2)]))
    (call,) = calls(round_)
    assert (call["title"], call["kind"], call["status"]) == ("Which?", "elicitation", status)
    assert call["metadata"]["elicitation"]["action"] == action
    if action == "accept":
        assert call["metadata"]["elicitation"]["content"] == {"color": "red", "password": "[left out]"}
    assert round_["stood"] == ["requires_action", "open"]


def test_ids_of_both_sides_are_apart() -> None:
    """Both count from 0, and an id may be anything."""
    for name in (2, "2", 2.5, None, [1], {"a": 1}, True):
        traffic = [
            prompt("?", 2),
            permission(name),
            answer(name, "c", outcome={"outcome": "selected", "optionId": "yes"}),
        ]
        if name is None:
            traffic[1][1]["id"] = None
        round_ = only(carried_out([*opened(), *traffic, message("a"), stop(2)]))
        assert calls(round_)[0]["metadata"]["permission"]["kind"] == "allow_once"
        assert texts(round_) == [("message", "a")]


def test_the_output_of_terminals() -> None:
    traffic = [
        agent("terminal/create", 0, sessionId="s", command="ls", args=["-l"], env=[{"name": "K", "value": "hidden"}]),
        answer(0, "c", terminalId="x"),
        update("tool_call", toolCallId="t", title="T", content=[{"type": "terminal", "terminalId": "x"}]),
        agent("terminal/output", 1, sessionId="s", terminalId="x"),
        answer(1, "c", output="one\n", truncated=False),
        agent("terminal/wait_for_exit", 2, sessionId="s", terminalId="x"),
        agent("terminal/output", 3, sessionId="s", terminalId="x"),
        answer(3, "c", output="one\ntwo\n", truncated=True),
        answer(2, "c", exitCode=3, signal=None),
        update("tool_call_update", toolCallId="t", status="failed"),
    ]
    outcome = carried_out([*opened(), prompt("?", 2), *traffic, stop(2)])
    (call,) = calls(only(outcome))
    assert call["content"] == [
        {
            "type": "terminal", "terminalId": "x", "command": "ls", "args": ["-l"], "output": "one\ntwo\n",
            "truncated": True, "exitStatus": {"exitCode": 3},
        }
    ]  # fmt: skip
    assert "hidden" not in repr(outcome.events)


def test_the_output_of_terminals_of_version_2() -> None:
    data = [base64.b64encode(each).decode() for each in (b"on", b"e\xc3", b"\xa9")]
    traffic = [
        update("tool_call_update", toolCallId="t", title="T", status="in_progress"),
        update("tool_call_content_chunk", toolCallId="t", content={"type": "terminal", "terminalId": "x"}),
        update("terminal_update", terminalId="x", command="ls", output={"data": data[0]}),
        update("terminal_output_chunk", terminalId="x", data=data[1]),
        update("terminal_output_chunk", terminalId="x", data="not Base64!"),
        update("terminal_output_chunk", terminalId="x", data=data[2]),
        update("tool_call_content_chunk", toolCallId="t", content={"type": "content", "content": text("more")}),
        update("terminal_update", terminalId="x", exitStatus={"exitCode": 0}),
        update("tool_call_update", toolCallId="t", status="completed"),
    ]
    (call,) = calls(only(carried_out([*opened(2), prompt("?", 2), answer(2, messageId="u"), *traffic])))
    terminal, more = call["content"]
    assert (terminal["output"], terminal["exitStatus"]) == ("oneé", {"exitCode": 0})
    assert more["content"]["text"] == "more"


def test_a_prompt_that_is_more_than_text_keeps_its_blocks() -> None:
    blocks = [
        text("Look at "),
        {"type": "resource_link", "name": "a.txt", "uri": "file:///p/a.txt"},
        {"type": "resource", "resource": {"uri": "file:///p/b.txt", "text": "much"}},
        {"type": "image", "data": "AA==", "mimeType": "image/png"},
    ]
    asked = client("session/prompt", 2, sessionId="s", prompt=blocks)
    round_ = only(carried_out([*opened(), asked, stop(2)]))
    assert round_["text"] == "Look at \n[a.txt](file:///p/a.txt)\n[b.txt](file:///p/b.txt)\n[image]"
    assert round_["blocks"] == blocks


def test_a_prompt_that_waits_is_a_round_of_its_own() -> None:
    traffic = [prompt("one", 2), prompt("two", 3), message("1"), stop(2), message("2"), stop(3)]
    one, two = carried_out([*opened(), *traffic]).rounds("s")
    assert [(each["text"], texts(each)) for each in (one, two)] == [
        ("one", [("message", "1")]),
        ("two", [("message", "2")]),
    ]


@pytest.mark.parametrize(
    ("answered", "status", "reason"),
    [
        (stop(2, "max_tokens"), "completed", "max_tokens"),
        (stop(2, "refusal"), "completed", "refusal"),
        (stop(2, "cancelled"), "cancelled", "cancelled"),
        (stop(2, "_something"), "completed", "_something"),
        (answer(2), "completed", None),
        (failure(2, "no model"), "error", None),
        (("a", {"id": 2, "result": None}), "completed", None),
        (("a", {"id": 2, "error": "wrong"}), "error", None),
    ],
)
def test_how_a_prompt_ends(answered: Line, status: str, reason: str | None) -> None:
    round_ = only(carried_out([*opened(), prompt("?", 2), message("a"), answered]))
    assert (round_["status"], round_["stop_reason"]) == (status, reason)
    assert round_["error"] == (
        None if status != "error" else "no model" if "no model" in str(answered) else round_["error"]
    )


def test_the_end_interrupts_what_runs() -> None:
    round_ = only(
        carried_out([*opened(), prompt("?", 2), message("a"), update("tool_call", toolCallId="t", title="T")])
    )
    assert (round_["status"], round_["error"]) == ("interrupted", "the agent's process has ended")
    assert calls(round_)[0]["status"] == "failed"


# What comes after a prompt's end: the rounds, as their texts and origins.
LATE: Mapping[str, tuple[list[Line], list[tuple[str, list[tuple[str, str]]]]]] = {
    "a piece on its way after a cancel": (
        [stop(2, "cancelled"), message("b")],
        [("user", [("message", "a"), ("message", "b")])],
    ),
    "much later nobody has asked": (
        [stop(2), ("a", 60_000), message("b")],
        [("user", [("message", "a")]), ("agent", [("message", "b")])],
    ),
    "a message that is known goes on, however late": (
        [message("x", messageId="1"), stop(2), ("a", 60_000), message("y", messageId="1")],
        [("user", [("message", "a"), ("message", "xy")])],
    ),
    "a new message is nothing that was on its way": (
        [stop(2), message("b", messageId="9"), prompt("next", 3), message("c"), stop(3)],
        [("user", [("message", "a")]), ("agent", [("message", "b")]), ("user", [("message", "c")])],
    ),
    "what is said in pieces to the agent elsewhere": (
        [
            stop(2), ("a", 60_000), update("user_message_chunk", content=text("from ")),
            update("user_message_chunk", content=text("afar")), message("b"),
        ],
        [("user", [("message", "a")]), ("user", [("message", "b")])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LATE)
def test_what_comes_late(what: str) -> None:
    traffic, expected = LATE[what]
    rounds = carried_out([*opened(), prompt("?", 2), message("a"), *traffic]).rounds("s")
    assert [(each["origin"], texts(each)) for each in rounds] == expected


def test_a_prompt_in_pieces_is_one_request() -> None:
    pieces = [update("user_message_chunk", content=text(each)) for each in ("from ", "afar")]
    round_ = only(carried_out([*opened(), *pieces, message("b"), client("session/cancel", sessionId="s")]))
    assert (round_["text"], round_["blocks"]) == ("from afar", None)


def test_an_update_of_a_call_goes_to_the_round_of_the_call() -> None:
    traffic = [
        prompt("one", 2), update("tool_call", toolCallId="t", title="T", status="in_progress"), stop(2),
        prompt("two", 3), update("tool_call_update", toolCallId="t", status="completed"), message("2"), stop(3),
    ]  # fmt: skip
    one, two = carried_out([*opened(), *traffic]).rounds("s")
    assert (calls(one)[0]["status"], "unfinished" in calls(one)[0]["metadata"], calls(two)) == ("completed", False, [])


def test_an_id_of_a_call_may_come_again_in_another_prompt() -> None:
    traffic = [
        each
        for number in (2, 3)
        for each in (prompt("?", number), update("tool_call", toolCallId="t", title=str(number)), stop(number))
    ]
    rounds = carried_out([*opened(), *traffic]).rounds("s")
    assert [calls(each)[0]["title"] for each in rounds] == ["2", "3"]


def loaded(method: str, *replay: Line, name: str = "some-agent", **members: Any) -> list[Line]:
    asked = client(method, 1, sessionId="s", cwd="/p", mcpServers=[])
    return [*opened(name=name)[:2], asked, *replay, answer(1, **members)]


@pytest.mark.parametrize("method", ["session/load", "session/resume"])
def test_a_replay_is_nothing_new(method: str) -> None:
    replay = [
        update("user_message_chunk", content=text("old")), message("old"), thought("old"),
        update("tool_call", toolCallId="t", title="T"), update("plan", entries=[]),
        update("session_info_update", title="Named"),
    ]  # fmt: skip
    outcome = carried_out([*loaded(method, *replay), prompt("new", 2), message("a"), stop(2)])
    assert texts(only(outcome)) == [("message", "a")]
    assert (outcome.sessions["s"]["cwd"], outcome.sessions["s"]["title"]) == ("/p", "Named")


def test_gemini_replays_after_the_answer_too() -> None:
    late = [update("user_message_chunk", content=text("old")), message("old")]
    traffic = [*loaded("session/load", name="gemini-cli"), *late, prompt("new", 2), message("a"), stop(2)]
    assert texts(only(carried_out(traffic))) == [("message", "a")]


def test_a_session_that_cannot_be_loaded_is_not_known() -> None:
    traffic = [client("session/load", 1, sessionId="s", cwd="/p"), message("old"), failure(1, "not found")]
    assert carried_out([*opened()[:2], *traffic]).sessions == {}


def test_a_fork_is_replayed_under_its_new_name() -> None:
    traffic = [
        client("session/fork", 5, sessionId="s", cwd="/q"), message("old", "f"), answer(5, sessionId="f"),
        prompt("new", 6, "f"), message("a", "f"), stop(6),
    ]  # fmt: skip
    outcome = carried_out([*opened(), *traffic])
    found = outcome.sessions["f"]
    assert (found["relation"], found["parent"], found["cwd"]) == ("fork", "s", "/q")
    assert texts(only(outcome, "f")) == [("message", "a")]


def test_what_comes_before_a_session_is_known_waits_for_it() -> None:
    early = [update("session_info_update", title="Early"), message("hello"), permission(0, title="T")]
    outcome = carried_out([*opened()[:3], *early, chosen(0, "no"), *opened()[3:]])
    round_ = only(outcome)
    assert (outcome.sessions["s"]["title"], round_["origin"]) == ("Early", "agent")
    assert texts(round_) == [("message", "hello")]
    assert calls(round_)[0]["metadata"]["rejected"] is True


@pytest.mark.parametrize("method", ["session/load", "session/fork"])
def test_a_question_before_the_session_is_known_waits_for_it(method: str) -> None:
    name = "f" if method == "session/fork" else "s"
    question = permission(0, title="T")
    question[1]["params"]["sessionId"] = name
    asked = client(method, 1, sessionId="s", cwd="/p", mcpServers=[])
    traffic = [*opened()[:2], asked, message("old", name), question, answer(1, sessionId=name), chosen(0, "no")]
    round_ = only(carried_out(traffic), name)
    assert (texts(round_), calls(round_)[0]["metadata"]["rejected"]) == ([], True)


def test_what_is_known_of_a_session() -> None:
    traffic = [
        client("session/set_mode", 2, sessionId="s", modeId="ask"), answer(2),
        client("session/set_model", 3, sessionId="s", modelId="big"), failure(3, "no"),
        update("config_option_update", configOptions=[{"id": "effort", "currentValue": "low", "options": []}]),
        client("session/list", 4), answer(4, sessions=[{"sessionId": "s", "title": "Listed"}, {"sessionId": "x"}, 1]),
        update("session_info_update", title=None), update("available_commands_update", availableCommands=[]),
    ]  # fmt: skip
    outcome = carried_out([*opened(name="@scope/claude-agent-acp"), *traffic])
    session = outcome.sessions["s"]
    assert (session["agent"], session["title"], session["rounds"]) == ("claude-code", "Listed", [])
    assert session["metadata"]["clientInfo"] == {"name": "editor", "version": "1"}
    assert (session["metadata"]["mode"], session["metadata"].get("model")) == ("ask", None)
    assert session["metadata"]["configOptions"] == {"effort": "low"}


def test_a_title_that_was_listed_before_the_session_is_loaded() -> None:
    listed = [client("session/list", 9), answer(9, sessions=[{"sessionId": "s", "title": "Listed"}])]
    outcome = carried_out([*opened()[:2], *listed, *loaded("session/load")[2:]])
    assert outcome.sessions["s"]["title"] == "Listed"


def spent(amount: float) -> Line:
    return update("usage_update", used=10, size=100, cost={"amount": amount, "currency": "EUR"})


def test_a_running_cost_is_the_prompts_own_by_difference() -> None:
    traffic = [prompt("1", 2), spent(0.5), spent(1.5), stop(2), prompt("2", 3), spent(2.0), stop(3), spent(2.25)]
    one, two = carried_out([*opened(), *traffic]).rounds("s")
    assert one["usage"] == {"context_used": 10, "context_size": 100, "cost": 1.5, "currency": "EUR"}
    assert two["usage"]["cost"] == 0.75


@pytest.mark.parametrize(("total", "own"), [(2.0, 0.5), (0.25, 0.25)])
def test_a_process_goes_on_from_the_old_total_or_begins_again(total: float, own: float) -> None:
    outcome = carried_out([*opened(), prompt("1", 2), spent(1.5), stop(2)])
    carried_out(
        [*loaded("session/load"), prompt("2", 2), spent(total), stop(2), prompt("3", 3), spent(total + 1), stop(3)],
        outcome,
    )
    assert [each["usage"]["cost"] for each in outcome.rounds("s")] == [1.5, own, 1.0]


def test_a_total_of_a_session_that_nobody_has_seen_before_is_no_prompts_own() -> None:
    traffic = [prompt("1", 2), spent(5.0), stop(2), prompt("2", 3), spent(5.5), stop(3)]
    rounds = carried_out([*loaded("session/load"), *traffic]).rounds("s")
    assert [each["usage"].get("cost") for each in rounds] == [None, 0.5]


def counted(usage: dict[str, int]) -> dict[str, int]:
    names = {"inputTokens": "input_tokens", "outputTokens": "output_tokens", "cachedReadTokens": "cache_read_tokens"}
    return {names[name]: count for name, count in usage.items()}


def test_usage_is_what_each_agent_means_by_it() -> None:
    counts = [{"inputTokens": 100, "outputTokens": 10, "cachedReadTokens": 5}, {"inputTokens": 300, "outputTokens": 10}]
    found = {}
    for name in ("some-agent", "opencode", "mistral-vibe"):
        traffic = [
            prompt("1", 2), message("a", messageId="1"), message("b", messageId="2"), stop(2, usage=counts[0]),
            prompt("2", 3), stop(3, usage=counts[1]),
        ]  # fmt: skip
        rounds = carried_out([*opened(name=name), *traffic]).rounds("s")
        found[name] = [each["usage"] for each in rounds]
        of_turns = [turn.get("usage") for turn in rounds[0]["turns"]]
        # Of the last reply alone, where it said anything.
        assert of_turns == [None, counted(counts[0]) if name == "opencode" else None]
    first, second = map(counted, counts)
    assert found["some-agent"] == [first, second]
    assert found["opencode"] == [{}, second]
    assert found["mistral-vibe"] == [first, {"input_tokens": 200, "output_tokens": 0}]


def test_version_2_acknowledges_a_prompt_and_says_later_that_it_has_ended() -> None:
    traffic = [
        prompt("one", 2), answer(2, messageId="u1"), update("user_message", messageId="u1", content=[text("one")]),
        update("state_update", state="running"), message("a", messageId="m1"),
        update("agent_message", messageId="m1", content=[text("all of it")]),
        update("agent_thought", messageId="m2", content=[text("hm")]),
        update("state_update", state="requires_action"), update("state_update", state="running"),
        update("state_update", state="idle", stopReason="end_turn", usage={"inputTokens": 3, "outputTokens": 4}),
        update("state_update", state="idle", stopReason="end_turn", usage={"inputTokens": 3, "outputTokens": 4}),
    ]  # fmt: skip
    round_ = only(carried_out([*opened(2), *traffic]))
    assert texts(round_) == [("message", "all of it"), ("thought", "hm")]
    assert (round_["status"], round_["stop_reason"]) == ("completed", "end_turn")
    assert round_["usage"] == {"input_tokens": 3, "output_tokens": 4}
    assert round_["stood"] == ["requires_action", "open"]


def test_version_2_tells_prompts_apart_by_where_their_messages_stand() -> None:
    idle = update("state_update", state="idle", stopReason="end_turn")
    traffic = [
        prompt("one", 2), update("user_message", messageId="u1"), answer(2, messageId="u1"), prompt("two", 3),
        message("1", messageId="m1"), idle, answer(3, messageId="u2"), update("user_message", messageId="u2"),
        message("2", messageId="m2"), idle,
    ]  # fmt: skip
    rounds = carried_out([*opened(2), *traffic]).rounds("s")
    assert [(each["text"], texts(each), each["status"]) for each in rounds] == [
        ("one", [("message", "1")], "completed"),
        ("two", [("message", "2")], "completed"),
    ]


def test_version_2_hears_of_messages_that_nobody_sent_through_us() -> None:
    idle = update("state_update", state="idle", stopReason="end_turn")
    traffic = [
        update("user_message_chunk", messageId="u1", content=text("from ")),
        update("user_message_chunk", messageId="u1", content=text("afar")), message("a", messageId="m1"), idle,
        update("state_update", state="running"), message("b", messageId="m2"), idle,
    ]  # fmt: skip
    rounds = carried_out([*opened(2), *traffic]).rounds("s")
    assert [(each["origin"], each["text"], texts(each)) for each in rounds] == [
        ("user", "from afar", [("message", "a")]),
        ("agent", "", [("message", "b")]),
    ]


def test_version_2_stops_with_an_error() -> None:
    ended = update("state_update", state="idle", stopReason="error", error={"code": 1, "message": "no model"})
    round_ = only(carried_out([*opened(2), prompt("?", 2), answer(2, messageId="u"), ended]))
    assert (round_["status"], round_["error"]) == ("error", "no model")


def test_version_2_asks_about_a_call_or_a_command() -> None:
    options = [{"optionId": "yes", "name": "Allow", "kind": "allow_once"}]
    about = [
        {"type": "tool_call", "toolCall": {"toolCallId": "t", "title": "Touch"}},
        {"type": "command", "command": "touch x", "cwd": "/p"},
    ]
    traffic = [
        each
        for number, subject in enumerate(about)
        for each in (
            agent(
                "session/request_permission", number, sessionId="s", title="May I?", subject=subject, options=options
            ),
            chosen(number, "yes"),
        )
    ]
    first, second = calls(only(carried_out([*opened(2), prompt("?", 2), *traffic])))
    assert (first["id"], first["title"], first["metadata"]["permission"]["title"]) == ("t", "Touch", "May I?")
    assert (second["title"], second["arguments"]) == ("May I?", {"command": "touch x", "cwd": "/p"})
    assert second["status"] == "completed"


def test_subagents_are_sessions_of_their_own() -> None:
    traffic = [
        prompt("?", 2), answer(2, messageId="u"),
        update("subagent_update", sessionId="child", title="Look", cwd="/q", toolCallId="t"),
        message("mine", messageId="m"), message("found", "child", messageId="m"),
        update("state_update", "child", state="idle", stopReason="end_turn"),
    ]  # fmt: skip
    outcome = carried_out([*opened(2), *traffic])
    child = outcome.sessions["child"]
    assert (child["relation"], child["parent"], child["parent_tool_call"]) == ("subagent", "s", "t")
    assert (child["cwd"], child["title"]) == ("/q", "Look")
    assert (texts(only(outcome, "child")), only(outcome, "child")["status"]) == ([("message", "found")], "completed")
    assert texts(only(outcome)) == [("message", "mine")]


def test_secrets_are_in_no_event() -> None:
    traffic = [
        ("c", {"id": 0, "method": "initialize", "params": {"clientInfo": {"name": "e", "apiKey": "hidden"}}}),
        answer(0, protocolVersion=1, agentInfo={"name": "a", "_meta": {"authorization": "hidden"}}),
        client("authenticate", 1, methodId="x", _meta={"gateway": "hidden", "headers": {"X": "hidden"}}),
        answer(1, token="hidden"),
        client("session/new", 2, cwd="/p", mcpServers=[{"name": "m", "env": [{"name": "K", "value": "hidden"}]}]),
        answer(2, sessionId="s", configOptions=[{"id": "api_key", "currentValue": "hidden"}]),
        prompt("?", 3),
        update("tool_call", toolCallId="t", title="T", _meta={"auth": {"access_token": "hidden"}, "tokens": 3},
               rawInput={"headers": {"Authorization": "hidden"}, "mcpServers": {"m": {"headers": ["hidden"]}}}),
        stop(3, _meta={"password": ["hidden"], "quota": {"token_count": {"input_tokens": 1}}}),
    ]  # fmt: skip
    outcome = carried_out(traffic)
    assert "hidden" not in repr(outcome.events)
    assert only(outcome)["usage"] == {"input_tokens": 1}
    assert calls(only(outcome))[0]["metadata"]["_meta"]["tokens"] == 3


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "x-goog-api-key", "X-Auth-Token", "newPassword",
     "webhookSecret", "ssh_key", "jwt", "otp", "PIN", "passcode", "DB_PWD", "accesstoken", "refreshTokens",
     "Set-Cookie", "apiKeyValue", "credentials"],
)  # fmt: skip
def test_a_member_that_is_named_like_a_secret_is_left_out(name: str) -> None:
    traffic = [prompt("?", 2), update("tool_call", toolCallId="t", rawInput={name: "hidden"}, rawOutput=[{name: 1}])]
    outcome = carried_out([*opened(), *traffic, stop(2)])
    assert "hidden" not in repr(outcome.events)
    assert calls(only(outcome))[0]["arguments"] == {name: "[left out]"}


@pytest.mark.parametrize(
    "name", ["key", "keys", "tokens", "inputTokens", "max_tokens", "monkey", "author", "tokenize", "opinion"]
)
def test_other_members_stay(name: str) -> None:
    traffic = [prompt("?", 2), update("tool_call", toolCallId="t", rawInput={name: 7}), stop(2)]
    assert calls(only(carried_out([*opened(), *traffic])))[0]["arguments"] == {name: 7}


@pytest.mark.parametrize("is_clean", [True, False])
def test_what_an_agent_said_by_itself_is_whole_where_it_ends_by_itself(is_clean: bool) -> None:
    outcome = carried_out([*opened(), prompt("?", 2), stop(2), ("c", 5000), message("by myself")], is_ended=False)
    outcome.conversation.end(outcome.at, "the agent ended", is_clean=is_clean)
    assert [each["status"] for each in outcome.rounds("s")] == ["completed", "completed" if is_clean else "interrupted"]


def test_an_error_is_kept_with_its_code() -> None:
    error = {"code": -32603, "message": "Internal error", "data": {"details": "overloaded", "token": "hidden"}}
    round_ = only(carried_out([*opened(), prompt("?", 2), ("a", {"id": 2, "error": error})]))
    assert (round_["status"], round_["error"]) == ("error", "Internal error: overloaded")
    assert round_["metadata"]["error"] == {**error, "data": {"details": "overloaded", "token": "[left out]"}}


def test_a_session_that_is_closed_has_ended() -> None:
    traffic = [prompt("?", 2), message("a"), client("session/close", 3, sessionId="s"), answer(3)]
    assert only(carried_out([*opened(), *traffic], is_ended=False))["status"] == "cancelled"


def test_what_comes_after_a_gap_belongs_to_the_prompt_before_it() -> None:
    """The answer to an earlier prompt may be among what did not come."""
    outcome = carried_out([*opened(), prompt("one", 2), message("a")], is_ended=False)
    outcome.conversation.lose(1000)
    carried_on = [prompt("two", 3), message("b"), stop(3), prompt("three", 4), message("c"), stop(4)]
    at = outcome.at
    for side, each in carried_on:
        at += 100
        outcome.conversation.take("client" if side == "c" else "agent", json.dumps(each).encode(), at)
    outcome.conversation.end(at, None)
    rounds = outcome.rounds("s")
    assert [(each["text"], each["status"], texts(each)) for each in rounds] == [
        ("one", "interrupted", [("message", "a")]),
        ("two", "completed", [("message", "b")]),
        ("three", "completed", [("message", "c")]),
    ]
    assert "1000 bytes of the conversation were not recorded" in str(rounds[0])


def test_a_gap_while_nothing_runs_changes_nothing() -> None:
    outcome = carried_out([*opened(), prompt("one", 2), message("a"), stop(2)], is_ended=False)
    outcome.conversation.lose(1000)
    outcome.conversation.take("client", json.dumps(prompt("two", 3)[1]).encode(), outcome.at + 100)
    outcome.conversation.take("agent", json.dumps(stop(3)[1]).encode(), outcome.at + 200)
    outcome.conversation.end(outcome.at + 300, None)
    assert [each["status"] for each in outcome.rounds("s")] == ["completed", "completed"]
