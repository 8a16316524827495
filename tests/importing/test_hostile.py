"""What is read is not trusted: whatever stands in a transcript harms nothing, and is told of with its place."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from importing.importing import Place
from importing.test_told import bring
from importing.transcripts import Claude, claude, codex, codex_event, codex_item, codex_path, write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.importing.lines import MAX_LINE_BYTES
from mandrake_sessions.model import Session

ONE = "11111111-1111-4111-8111-111111111111"
THREAD = "01a21705-b70c-7ec1-b748-b6ac50d90e32"


def simple(place: Place) -> Claude:
    talk = claude(place.home, ONE)
    talk.ask("Hello")
    talk.say("Hi.", "msg_1")
    talk.ask("Bye")
    talk.say("Bye.", "msg_2")
    return talk


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{nonsense\n", "is no JSON"),
        (b"[1, 2]\n", "is no JSON object but an array"),
        (b"null\n", "is no JSON object but null"),
        (b'{"a": 1} {"b": 2}\n', "more follows at character 8"),
        (b'{"a":' + b"[" * 100_000 + b"\n", "is nested too deep"),
        (b'{"a":' + b"1" * 10_000 + b"}\n", "is no JSON"),
        (b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}\n', "a line may have 64 MiB at the most"),
    ],
    ids=["no JSON", "array", "null", "two", "nested", "digits", "long"],
)
def test_a_broken_line_is_named_and_the_rest_goes_on(place: Place, line: bytes, reason: str) -> None:
    talk = simple(place)
    talk.write(upto=2, tail=line + b"".join(json.dumps(record).encode() + b"\n" for record in talk.records[2:]))
    told = place.bring(code=1).err
    assert told.startswith(f"{talk.path}:3: ")
    assert reason in told
    assert told.count("\n") == 1
    assert place.talk(ONE) == [("Hello", ["Hi."]), ("Bye", ["Bye."])]


def test_a_broken_line_has_its_number_in_a_file_that_has_grown(place: Place) -> None:
    talk = simple(place)
    talk.write()
    place.bring()
    talk.write(tail=b"nonsense\n")
    assert place.bring(code=1).err.startswith(f"{talk.path}:5: ")


def test_bytes_that_are_not_utf_8_are_told_of_and_the_line_comes(place: Place) -> None:
    talk = simple(place)
    talk.write()
    talk.path.write_bytes(talk.path.read_bytes().replace(b"Hello", b"Hel\xffo"))
    told = place.bring(code=1).err
    assert f"{talk.path}:1: byte " in told
    assert "is not UTF-8" in told
    assert place.talk(ONE)[0][0] == "Hel\ufffdo"


def test_odd_values_are_taken_as_far_as_they_go(place: Place) -> None:
    talk = claude(place.home, ONE)
    talk.ask("A lone \ud800 surrogate", cwd="../elsewhere", timestamp="9999-12-31T23:59:59Z")
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    call = {"type": "tool_use", "id": "call_\udfff", "name": "../../x\ud800", "input": {"a": deep, "b": "\ud800"}}
    talk.block(call, "msg_1", timestamp=-5)
    talk.answer("call_\udfff", "\ud800", timestamp="no time")
    talk.say("NaN", "msg_2", tokens=-1)
    talk.add(
        "assistant", message={"id": 5, "content": [{"type": "text", "text": "five"}], "usage": {"input_tokens": 1e9}}
    )
    talk.write()
    assert place.bring(code=1).err == (
        f"{talk.path}:1: the time, 9999-12-31 23:59:59 UTC, lies in the future; it was not taken over\n"
        f"{talk.path}:2: the time -5 cannot be read; it was not taken over\n"
        f"{talk.path}:3: the time 'no time' cannot be read; it was not taken over\n"
    )
    ((request, turns),) = place.talk(ONE)
    assert (request, turns) == ("A lone \ufffd surrogate", ["", "NaN", "five"])
    (session,) = place.sessions()
    assert session.cwd is None
    assert session.metadata["cwd"] == "../elsewhere"
    assert place.is_sound()


def test_times_of_the_future_are_not_taken_over_and_told_of_with_their_place(place: Place) -> None:
    talk = simple(place)
    talk.records[0]["timestamp"] = "2026-03-01T10:00:00Z"
    talk.records[1]["timestamp"] = 4e12
    talk.records[2]["timestamp"] = "3000-01-01T00:00:00Z"
    talk.write(upto=2)
    assert f"{talk.path}:2: the time, 2096-10-02 07:06:40 UTC, lies in the future" in place.bring(code=1).err
    talk.write()
    assert f"{talk.path}:3: the time, 3000-01-01 00:00:00 UTC, lies in the future" in place.bring(code=1).err
    meta = codex("session_meta", {"id": THREAD, "timestamp": "2500-01-01T00:00:00Z", "cwd": "/x"})
    path = codex_path(place.home, THREAD)
    write_lines(path, [meta, codex_item("user", "Hello"), codex_item("assistant", "Hi.")])
    assert f"{path}:1: the time, 2500-01-01 00:00:00 UTC, lies in the future" in place.bring("codex", code=1).err
    first, second = place.rounds(ONE)
    assert first.request.created_at == first.response.turns[0].stream_start_time == 1772359200000
    assert second.response.turns[0].created_at == 1772359204000
    assert all(session.active_at < 1772400000000 for session in place.sessions())


def test_links_and_what_is_no_file_are_left_alone(place: Place) -> None:
    talk = simple(place)
    talk.write()
    directory = talk.path.parent
    (directory / "link.jsonl").symlink_to(talk.path)
    (directory / "loop").symlink_to(directory, target_is_directory=True)
    (directory / "self.jsonl").symlink_to(directory / "self.jsonl")
    (directory / "directory.jsonl").mkdir()
    os.mkfifo(directory / "pipe.jsonl")
    (end,) = [line for line in place.told(code=1) if line["type"] == "end"]
    assert (end["sources"], end["sessions"], end["problems"]) == (1, 1, 3)
    told = place.bring(code=1).err
    for name in ("link.jsonl", "loop", "self.jsonl"):
        assert f"{directory / name}: cannot be read, so what is in it is left out: it is a link" in told


def test_a_name_that_is_not_utf_8_is_named(place: Place) -> None:
    talk = simple(place)
    talk.write()
    os.rename(talk.path, os.fsencode(talk.path.parent) + b"/odd\xff.jsonl")  # noqa: PTH104
    assert "odd" in place.bring(code=1).err
    assert place.told(code=1)[-1]["problems"] == 1
    assert place.sessions() == []


def test_a_file_that_cannot_be_read_is_named(place: Place) -> None:
    talk = simple(place)
    talk.write()
    other = claude(place.home, "22222222-2222-4222-8222-222222222222")
    other.ask("Other")
    other.write()
    other.path.chmod(0)
    if os.access(other.path, os.R_OK):
        pytest.skip("root reads every file")
    assert f"{other.path}: was not brought in: Permission denied" in place.bring(code=1).err
    assert len(place.sessions()) == 1


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "../..",
    [],
    [1],
    {},
    {"type": "text"},
    [{"type": "text", "text": 5}],
    [[]],
)


def odd(value: Any, chance: random.Random) -> Any:
    """The value with a few others in it."""
    if chance.random() < 0.06:
        return chance.choice(ODD)
    if isinstance(value, dict):
        return {name: odd(inner, chance) for name, inner in value.items() if chance.random() > 0.01}
    return [odd(inner, chance) for inner in value] if isinstance(value, list) else value


def test_any_value_in_any_place_does_no_harm(place: Place) -> None:
    chance = random.Random(7)
    rollout = [
        codex(
            "session_meta", {"id": THREAD, "timestamp": "2026-03-01T10:00:00Z", "cwd": "/x", "source": {"subagent": {}}}
        ),
        codex("session_meta", {"id": "another", "timestamp": "2026-03-01T10:00:00Z"}),
        codex("turn_context", {"model": "m"}),
        codex_event("task_started"),
        codex_item("user", "# Context from my IDE setup:\n## My request for Codex:\nFirst"),
        codex_event("user_message", message="First", images=["data:"]),
        codex_event(
            "item_completed", item={"type": "UserMessage", "id": "i", "content": [{"type": "text", "text": "x"}]}
        ),
        codex("response_item", {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "Hm."}]}),
        codex_item("assistant", "One"),
        codex_event("agent_message", message="One"),
        codex("response_item", {"type": "function_call", "name": "spawn_agent", "arguments": "{}", "call_id": "c"}),
        codex("response_item", {"type": "function_call_output", "call_id": "c", "output": '{"agent_id": "x"}'}),
        codex_event("token_count", info={"total_token_usage": {"input_tokens": 5}, "last_token_usage": {}}),
        codex("token_usage_record", {"response_id": "r", "usage": {"input_tokens": 5}}),
        codex("compacted", {"message": "short"}),
        codex_event("thread_rolled_back", num_turns=1),
        codex_event("task_complete", error={"message": "no"}, last_agent_message=None),
        codex_event("turn_aborted", reason="interrupted"),
    ]
    for number in range(120):
        session = f"{number:08}-1111-4111-8111-111111111111"
        talk = claude(place.home, session)
        talk.ask("Hello")
        talk.block({"type": "thinking", "thinking": "Hm."}, "msg_1")
        talk.call("call_1", "msg_1")
        talk.answer("call_1", "a.txt", permissionDecision={"decision": "reject", "source": "x"})
        talk.add("system", parent=None, subtype="compact_boundary", compactMetadata={"trigger": "auto"})
        talk.ask("The summary", isCompactSummary=True)
        talk.ask("<command-name>/x</command-name>")
        talk.add("attachment", attachment={"type": "queued_command", "prompt": "x", "origin": {"kind": "human"}})
        for operation in ("enqueue", "enqueue", "remove", "dequeue", "popAll"):
            talk.add("queue-operation", operation=operation, content="x")
        talk.say("x", "msg_2", requestSessionId="y", isAbortedMidStream=True)
        talk.ask("Other", parent=None, isSidechain=True, version="1.0.0")
        talk.ask("Back", parent=talk.records[1]["uuid"])
        talk.records = [odd(record, chance) for record in talk.records]
        talk.write()
        thread = f"{number:08}-b70c-7ec1-b748-b6ac50d90e32"
        write_lines(codex_path(place.home, thread), [odd(record, chance) for record in rollout])
    told = place.told(code=1)
    assert [(line["path"], line["reason"]) for line in told if line.get("what") == "failed"] == []
    reasons = {broken["reason"] for line in told for broken in line.get("broken", [])}
    known = ("is no JSON object but ", "the time ", "is another record than its type says")
    assert all(reason.startswith(known) for reason in reasons), reasons
    assert place.is_sound()
    assert [line["what"] for line in place.told() if line["type"] == "source"] == []


def texts_in(value: Any, *place: Any) -> Iterator[tuple[Any, ...]]:
    """Where a record has texts, but for those that say what it is."""
    if isinstance(value, str) and place[-1] != "type":
        yield place
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from texts_in(item, *place, name)


def test_half_a_character_in_any_text_keeps_no_conversation_out(place: Place) -> None:
    """A program that cuts a text in the middle of a character writes a lone surrogate."""
    talk = claude(place.home, ONE)
    talk.ask("Hello", gitBranch="main", cwd="/home/somebody/project", version="2.1.0")
    talk.call("call_1", "msg_1")
    talk.answer("call_1", "a.txt")
    talk.say("Hi.", "msg_2", requestId="req_1")
    places = [found for number, record in enumerate(talk.records) for found in texts_in(record, number)]
    assert len(places) > 30
    for number, (*above, last) in enumerate(places):
        records = copy.deepcopy(talk.records)
        target: Any = records
        for each in above:
            target = target[each]
        target[last] += "\ud800"
        write_lines(talk.path.with_name(f"{number:08}-1111-4111-8111-111111111111.jsonl"), records)
    done = bring(place, [])
    assert "was not brought in" not in done.stderr
    found = {session.external_id: session.round_count for session in all_sessions(place)}
    missing = [
        where for number, where in enumerate(places) if not found.get(f"{number:08}-1111-4111-8111-111111111111")
    ]
    assert missing == []
    assert place.is_sound()


def all_sessions(place: Place) -> list[Session]:
    with SessionManager(place.database) as manager:
        return list(manager.list_sessions(limit=1000).sessions)
