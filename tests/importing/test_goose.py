"""goose's conversations: rows that are written again as a whole, and the older files."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from importing.importing import Place
from importing.test_hostile import odd
from importing.transcripts import write_lines
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Session

SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, name TEXT, description TEXT, session_type TEXT, working_dir TEXT,
    created_at TIMESTAMP, updated_at TIMESTAMP, accumulated_total_tokens INTEGER, accumulated_input_tokens INTEGER,
    accumulated_output_tokens INTEGER);
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, role TEXT, content_json TEXT,
    created_timestamp INTEGER, timestamp TIMESTAMP, tokens INTEGER, metadata_json TEXT);
"""
TIME = 1_772_359_200
Row = dict[str, Any]


def text(words: str) -> Row:
    return {"type": "text", "text": words}


def call(name: str, tool: str = "developer__shell") -> Row:
    return {"type": "toolRequest", "id": name,
            "toolCall": {"status": "success", "value": {"name": tool, "arguments": {"command": "ls"}}}}  # fmt: skip


def answer(name: str, **result: Any) -> Row:
    return {"type": "toolResponse", "id": name, "toolResult": result}


def said(role: str, second: int, *blocks: Row, **metadata: bool) -> Row:
    shown = {"userVisible": True, "agentVisible": True, **metadata}
    return {"role": role, "created": TIME + second, "content": list(blocks), "metadata": shown}


def talk() -> list[Row]:
    return [
        said("user", 1, text("What is in here?")),
        said("assistant", 2, {"type": "thinking", "thinking": "Hm.", "signature": "x"}, text("I look."), call("c1"),
             call("c2")),
        said("user", 3, answer("c1", status="success", value={"content": [text("a.txt")], "isError": False}),
             answer("c2", status="error", error="-32603: no")),
        said("assistant", 4, text("A file.")),
        said("user", 5, text("Which?"), {"type": "image", "data": "AAAA", "mimeType": "image/png"}),
        said("assistant", 6, text("This one.")),
    ]  # fmt: skip


@contextmanager
def goose(place: Place) -> Iterator[sqlite3.Connection]:
    path = place.home / ".local" / "share" / "goose" / "sessions" / "sessions.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO sessions VALUES ('s1', 'A talk', '', 'user', '/home/somebody', '2026-03-01 10:00:00', "
            "'2026-03-01 10:00:00', 30, 10, 20)"
        )
        yield connection


def write(connection: sqlite3.Connection, messages: list[Row]) -> None:
    """As the program does where it replaces a conversation: with other ids."""
    connection.execute("DELETE FROM messages")
    for each in messages:
        connection.execute(
            "INSERT INTO messages (session_id, role, content_json, created_timestamp, metadata_json) "
            "VALUES ('s1', ?, ?, ?, ?)",
            (each["role"], json.dumps(each["content"]), each["created"], json.dumps(each["metadata"])),
        )
    connection.execute("UPDATE sessions SET updated_at = datetime(updated_at, '+1 second')")


def session_of(place: Place) -> Session:
    with SessionManager(place.database) as manager:
        return manager.get_session(external_id="s1", agent="goose")


def check(place: Place) -> None:
    assert place.talk("s1") == [
        ("What is in here?", ["Hm.", "I look.", "A file."]), ("Which?", ["This one."]),
    ]  # fmt: skip
    first, second = place.rounds("s1")
    calls = first.response.turns[1].tool_calls
    assert [(each.id, each.server_name, each.method_name, each.status, each.response) for each in calls] == [
        ("c1", "developer", "shell", "completed", "a.txt"), ("c2", "developer", "shell", "failed", "-32603: no"),
    ]  # fmt: skip
    assert calls[0].arguments == {"command": "ls"}
    assert second.request.blocks == talk()[4]["content"]


@pytest.mark.parametrize("first", range(7))
def test_rows_that_came_since_are_brought_in(place: Place, first: int) -> None:
    with goose(place) as connection:
        write(connection, talk()[:first])
        place.bring()
        write(connection, talk())
        place.bring()
        assert place.told()[-1]["turns"] == 0
    check(place)
    session = session_of(place)
    assert (session.title, session.cwd, session.created_at) == ("A talk", "/home/somebody", TIME * 1000)
    assert session.metadata == {"totalTokens": 30, "inputTokens": 10, "outputTokens": 20}
    assert place.is_sound()


def test_a_compaction_is_marked_and_what_was_before_it_is_kept(place: Place) -> None:
    with goose(place) as connection:
        write(connection, talk())
        place.bring()
        hidden = [each | {"metadata": {"userVisible": True, "agentVisible": False}} for each in talk()]
        summary = [said("user", 7, text("In short"), userVisible=False),
                   said("assistant", 7, text("This is a summary of what was said."), userVisible=False)]  # fmt: skip
        write(connection, [*hidden, *summary, said("user", 8, text("More")), said("assistant", 9, text("Yes"))])
        place.bring()
        place.bring()
    assert place.talk("s1")[2:] == [("", ["In short"]), ("More", ["Yes"])]
    assert [each.origin for each in place.rounds("s1")] == ["user", "user", "system", "user"]
    assert place.rounds("s1")[2].response.turns[0].kind == "compaction"


def test_what_was_taken_back_is_another_branch(place: Place) -> None:
    with goose(place) as connection:
        write(connection, talk())
        place.bring()
        write(connection, [*talk()[:4], said("user", 7, text("Another")), said("assistant", 8, text("Good"))])
        place.bring()
    assert [request for request, _ in place.talk("s1")] == ["What is in here?", "Another"]
    (fork,) = [session for session in place.sessions() if session.external_id is None]
    assert [request for request, _ in place.talk(session_id=fork.id)] == ["What is in here?", "Which?"]
    assert place.is_sound()


def test_an_older_file_is_the_same_conversation(place: Place) -> None:
    path = place.home / ".local" / "share" / "goose" / "sessions" / "s1.jsonl"
    head = {"working_dir": "/home/somebody", "description": "An old talk", "message_count": 6, "total_tokens": 5}
    write_lines(path, [head, *talk()], b"nonsense\n")
    assert f"{path}:8: is no JSON" in place.bring(code=1).err
    check(place)
    assert session_of(place).title == "An old talk"
    # The program has taken it over into its database.
    with goose(place) as connection:
        write(connection, [*talk(), said("user", 7, text("More"))])
        place.bring()
    assert len(place.sessions()) == 1
    assert [request for request, _ in place.talk("s1")] == ["What is in here?", "Which?", "More"]


def test_any_value_in_any_place_does_no_harm(place: Place) -> None:
    chance = random.Random(9)
    path = place.home / ".local" / "share" / "goose" / "sessions"
    hidden = said("user", 9, text("In short"), userVisible=False)
    with goose(place) as connection:
        for number in range(80):
            head = {"working_dir": "../x", "message_count": 1, "name": number}
            made = [odd(each, chance) for each in (*talk(), hidden)]
            write_lines(path / f"f{number}.jsonl", [head, *made])
            connection.execute("INSERT INTO sessions (id, working_dir) VALUES (?, ?)", (f"r{number}", b"\xff"))
            for each in made:
                row = each if isinstance(each, dict) else {}
                content, created, metadata = (json.dumps(row.get(name)) for name in ("content", "created", "metadata"))
                connection.execute(
                    "INSERT INTO messages (session_id, role, content_json, created_timestamp, metadata_json) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (f"r{number}", str(row.get("role")), content, created, metadata),
                )
        connection.execute("UPDATE messages SET content_json = x'ff' WHERE id % 7 = 0")
        told = place.told(code=1)
    assert [(line["path"], line["reason"]) for line in told if line.get("what") == "failed"] == []
    assert place.is_sound()
