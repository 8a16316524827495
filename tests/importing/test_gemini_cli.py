"""Chats of Gemini CLI: messages that are written again, what the model sees beside them, and rewinds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from importing.importing import Place
from importing.test_hostile import odd
from importing.transcripts import write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Session

ONE = "11111111-1111-4111-8111-111111111111"
Record = dict[str, Any]
TOKENS = {"input": 100, "output": 20, "cached": 30, "thoughts": 5, "tool": 0, "total": 125}
SUMMARIZED = "Got it. Thanks for the additional context!"


def chats(place: Place) -> Path:
    project = place.home / ".gemini" / "tmp" / "project"
    project.mkdir(parents=True, exist_ok=True)
    (project / ".project_root").write_text("/home/somebody/project\n")
    return project / "chats"


def chat(place: Place) -> Path:
    return chats(place) / "session-2026-03-01T10-00-11111111.jsonl"


def at(second: int) -> str:
    return f"2026-03-01T10:{second // 60:02}:{second % 60:02}.000Z"


def head(session: str = ONE, second: int = 0, **fields: Any) -> Record:
    return {"sessionId": session, "projectHash": "0", "startTime": at(second), "lastUpdated": at(second), **fields}


def ask(name: str, text: str, second: int, **fields: Any) -> Record:
    return {"id": name, "timestamp": at(second), "type": "user", "content": [{"text": text}], **fields}


def say(name: str, text: str, second: int, **fields: Any) -> Record:
    made = {"thoughts": [], "tokens": TOKENS, "model": "m", **fields}
    return {"id": name, "timestamp": at(second), "type": "gemini", "content": text, **made}


def call(name: str, second: int, output: str | None = "a.txt", **fields: Any) -> Record:
    response = {"functionResponse": {"id": name, "name": "shell", "response": {"output": output}}}
    made = {"result": [response], "status": "success"} if output is not None else {"status": "executing"}
    return {"id": name, "name": "shell", "args": {"command": "ls"}, "timestamp": at(second), **made, **fields}


def replied(name: str, call_id: str, second: int, **response: Any) -> Record:
    part = {"functionResponse": {"id": call_id, "name": "shell", "response": response}}
    return {"id": name, "timestamp": at(second), "type": "user", "content": [part]}


def seen(*messages: Record) -> Record:
    return {"$set": {"messages": list(messages), "lastUpdated": at(0)}}


CONTEXT = ask("context", "<session_context>\nThe directory is empty.", 0)


def talk() -> list[Record]:
    thoughts = [{"subject": "Looking", "description": "Hm."}]
    return [
        head(kind="main"), seen(CONTEXT), head(second=1), seen(CONTEXT),
        ask("q1", "What is in here?", 2), {"$set": {"lastUpdated": at(2)}},
        say("a1", "I look.", 3, thoughts=thoughts, tokens=None),
        {"$set": {"lastUpdated": at(3)}}, say("a1", "I look.", 3, thoughts=thoughts),
        say("a2", "", 4, toolCalls=[call("c1", 5)], tokens=None), replied("r1", "c1", 5, output="a.txt"),
        say("a3", "A file.", 6), ask("q2", "Which?", 7), say("a4", "This one.", 8),
        # A later call is written into an earlier message.
        say("a2", "", 4, toolCalls=[call("c1", 5), call("c2", 9, "Exit Code: 3")], tokens=None),
        replied("r2", "c2", 9, output="Exit Code: 3"), say("a5", "Done.", 10),
    ]  # fmt: skip


def session_of(place: Place, name: str = ONE) -> Session:
    with SessionManager(place.database) as manager:
        return manager.get_session(external_id=name, agent="gemini-cli")


def check(place: Place) -> None:
    assert place.talk(ONE) == [
        ("What is in here?", ["Looking\nHm.", "I look.", "A file."]), ("Which?", ["This one.", "Done."]),
    ]  # fmt: skip
    first, second = place.rounds(ONE)
    (looked,) = [item for turn in first.response.turns for item in turn.tool_calls]
    (failed,) = [item for turn in second.response.turns for item in turn.tool_calls]
    assert (looked.id, looked.response, looked.status, looked.arguments) == (
        "c1", "a.txt", "completed", {"command": "ls"},
    )  # fmt: skip
    assert (failed.id, failed.status, failed.metadata) == ("c2", "failed", {"exitCode": 3})
    with SessionManager(place.database) as manager:
        used = manager.usage()
    (total,) = used.totals
    assert (total.input_tokens, total.output_tokens, total.thought_tokens, total.cache_read_tokens) == (
        400, 80, 20, 120,
    )  # fmt: skip
    assert (used.rounds, used.turns, used.tool_calls) == (2, 5, 2)


def test_a_message_that_is_written_again_counts_once(place: Place) -> None:
    write_lines(chat(place), talk())
    place.bring()
    check(place)
    session = session_of(place)
    assert (session.cwd, session.created_at) == ("/home/somebody/project", 1_772_359_200_000)
    assert place.told()[-1]["turns"] == 0
    assert place.is_sound()


@pytest.mark.parametrize("first", range(1, 17, 2))
def test_a_file_that_has_grown_brings_only_the_new(place: Place, first: int) -> None:
    write_lines(chat(place), talk()[:first], b'{"id": "half')
    assert not place.bring().err
    write_lines(chat(place), talk())
    place.bring()
    check(place)


def test_what_the_model_sees_is_not_brought_in_again_but_a_summary(place: Place) -> None:
    again = seen(CONTEXT, ask("s", "In short", 20), say("s1", SUMMARIZED, 20), ask("new id", "Which?", 20))
    records = [*talk(), again, ask("q3", "More", 21), say("a6", "Yes", 22), again]
    write_lines(chat(place), records)
    place.bring()
    write_lines(chat(place), [*records, ask("q4", "Bye", 23), again])
    place.bring()
    assert place.talk(ONE)[2:] == [("", ["In short"]), ("More", ["Yes"]), ("Bye", [])]
    summary = place.rounds(ONE)[2]
    assert (summary.origin, summary.response.turns[0].kind) == ("system", "compaction")


def test_a_call_without_a_record_is_found_in_what_the_model_sees(place: Place) -> None:
    function = {"functionCall": {"id": "c1", "name": "shell", "args": {"command": "rm"}}}
    refused = 'Tool "shell" was canceled by the user.'
    records = [head(), ask("q1", "Remove it", 1), say("a1", "I do.", 2), replied("r1", "c1", 3, error=refused),
               say("a2", "Not done.", 4), seen(say("a1", "", 2, content=[{"text": "I do."}, function]))]  # fmt: skip
    write_lines(chat(place), records)
    place.bring()
    (found,) = place.rounds(ONE)[0].response.turns[0].tool_calls
    assert (found.arguments, found.status, found.metadata) == ({"command": "rm"}, "failed", {"rejected": True})


def test_what_was_rewound_is_another_branch(place: Place) -> None:
    records = [head(), ask("q1", "First", 1), say("a1", "One", 2), ask("q2", "Second", 3), say("a2", "Two", 4)]
    write_lines(chat(place), records)
    place.bring()
    write_lines(chat(place), [*records, {"$rewindTo": "q2"}, ask("q3", "Third", 5), say("a3", "Three", 6)])
    place.bring()
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Third", ["Three"])]
    (fork,) = [session for session in place.sessions() if session.external_id is None]
    assert place.talk(session_id=fork.id) == [("First", ["One"]), ("Second", ["Two"])]
    assert place.is_sound()


def test_an_older_file_is_one_object_that_is_written_anew(place: Place) -> None:
    path = chat(place).with_suffix(".json")
    path.parent.mkdir(parents=True)
    messages = [CONTEXT, ask("q1", "First", 1), say("a1", "One", 2, toolCalls=[call("c1", 3)]), ask("q2", "Second", 4)]
    path.write_text(json.dumps(head(messages=messages, summary="A talk"), indent=2))
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Second", [])]
    assert session_of(place).description == "A talk"
    path.write_text(json.dumps(head(messages=[*messages, say("a2", "Two", 5)])))
    place.bring()
    assert place.talk(ONE)[1] == ("Second", ["Two"])
    path.write_text(json.dumps(head(messages=[*messages[:3], ask("q3", "Another", 6)])))
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Another", [])]
    # The program goes on in a file of the newer form, which begins with all that was there.
    write_lines(chat(place), [head(), *messages[1:3], ask("q3", "Another", 6), say("a3", "Three", 7)])
    place.bring()
    assert place.talk(ONE) == [("First", ["One"]), ("Another", ["Three"])]
    assert place.is_sound()


@pytest.mark.parametrize("is_first", [True, False])
def test_a_subagent_hangs_from_the_call_that_started_it(place: Place, is_first: bool) -> None:
    child = chats(place) / ONE / "22222222-2222-4222-8222-222222222222.jsonl"
    write_lines(child, [head(child.stem, 3, kind="subagent"), ask("x1", "Task: Look around", 3), say("x2", "I did", 4),
                        ask("x3", "Call the tool that ends it", 5), say("x4", "Done", 6)])  # fmt: skip
    if is_first:
        place.bring()
    made = call("c1", 7, args={"agent_name": "a long name of an agent", "prompt": "Look around"},
                resultDisplay={"isSubagentProgress": True})  # fmt: skip
    write_lines(chat(place), [head(), ask("q1", "Delegate", 1), say("a1", "I do.", 2, toolCalls=[made])])
    place.bring()
    found, parent = session_of(place, child.stem), session_of(place)
    assert (found.relation, found.parent_id, found.parent_tool_call_id) == ("subagent", parent.id, "c1")
    assert [(each.origin, each.request.content) for each in place.rounds(child.stem)] == [
        ("user", "Task: Look around"), ("system", ""),
    ]  # fmt: skip


def test_what_was_typed_is_what_was_shown(place: Place) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    records = [head(), ask("q1", "Look at @a.txt\nits words", 1, displayContent=[{"text": "Look at @a.txt"}]),
               ask("q2", "", 2, content=[picture, {"text": "What is it?"}]),
               {"id": "e", "timestamp": at(3), "type": "error", "content": "no credit"}]  # fmt: skip
    write_lines(chat(place), records)
    place.bring()
    first, second = place.rounds(ONE)
    assert (first.request.content, second.request.content) == ("Look at @a.txt", "What is it?")
    assert second.request.blocks == [picture, {"text": "What is it?"}]
    assert (second.response.status, second.response.stop_reason) == ("error", "no credit")


def test_broken_files_are_named_and_the_rest_goes_on(place: Place) -> None:
    records = talk()
    write_lines(chat(place), records[:6], b"nonsense\n[1]\n")
    with chat(place).open("ab") as file:
        file.writelines(json.dumps(record).encode() + b"\n" for record in records[6:])
    broken = chats(place) / "session-2026-03-01T11-00-22222222.json"
    broken.write_bytes(json.dumps(head("22222222-2222-4222-8222-222222222222")).encode()[:-1])
    told = place.bring(code=1).err
    assert f"{chat(place)}:7: is no JSON" in told
    assert f"{chat(place)}:8: is no JSON object but an array" in told
    assert f"{broken}: was not brought in: it is no chat" in told
    check(place)


def test_any_value_in_any_place_does_no_harm(place: Place) -> None:
    chance = random.Random(3)
    extra = [seen(ask("s", "In short", 20), say("s1", SUMMARIZED, 20)), {"$rewindTo": "q2"},
             say("a9", "x", 30, content=[{"text": "t", "thought": True}, {"functionCall": {"id": "z"}}],
                 toolCalls=[call("c9", 31, resultDisplay={"isSubagentProgress": True})]),
             {"id": "i", "type": "info", "content": "Request cancelled."}]  # fmt: skip
    for number in range(120):
        name = f"{number:08}-1111-4111-8111-111111111111"
        records = [head(name), *(odd(record, chance) for record in [*talk()[1:], *extra])]
        write_lines(chats(place) / f"session-2026-03-01T10-00-{number:08}.jsonl", records)
        old = chats(place) / f"session-2026-03-01T10-00-{number:08}.json"
        old.write_text(json.dumps(head(f"o{number}", messages=odd([*talk()[4:], *extra], chance))))
    told = place.told(code=1)
    assert [(line["path"], line["reason"]) for line in told if line.get("what") == "failed"] == []
    assert place.is_sound()
