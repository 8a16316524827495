"""The database of the original Mandrake."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commands.running import run
from importing.importing import Place
from mandrake_sessions import SessionManager

SCHEMA = """
CREATE TABLE sessions (id TEXT, title TEXT, description TEXT, metadata TEXT, createdAt, updatedAt);
CREATE TABLE rounds (id TEXT, sessionId TEXT, requestId TEXT, responseId TEXT, "index" INTEGER, createdAt, updatedAt);
CREATE TABLE requests (id TEXT, content TEXT, createdAt, updatedAt);
CREATE TABLE responses (id TEXT, createdAt, updatedAt);
CREATE TABLE turns (id TEXT, responseId TEXT, "index" INTEGER, rawResponse TEXT, content TEXT, toolCalls TEXT,
    status TEXT, streamStartTime, streamEndTime, currentTokens, expectedTokens, inputTokens, outputTokens,
    cacheReadTokens, cacheWriteTokens, inputCost, outputCost, createdAt, updatedAt);
CREATE TABLE __drizzle_migrations (id, hash, created_at);
"""
TEXT_TIME, TIME = "2025-03-01 10:00:00", 1740823200000


def make(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    metadata = json.dumps(json.dumps({"a": 1}))
    connection.execute("INSERT INTO sessions VALUES ('s1', 'A talk', 'About', ?, ?, ?)", (metadata, TEXT_TIME, TIME))
    connection.execute("INSERT INTO rounds VALUES ('r1', 's1', 'q1', 'p1', 0, ?, ?)", (TIME, TIME))
    connection.execute(
        "INSERT INTO requests VALUES ('q1', 'What is in here?', ?, ?), ('q2', 'Alone', ?, ?)", (TIME,) * 4
    )
    connection.execute("INSERT INTO responses VALUES ('p1', ?, ?)", (TIME, TIME))
    call = {"serverName": "fs", "methodName": "ls", "arguments": {"p": "."}}
    add_turn(connection, "t1", "p1", "I look.", {"call": call, "response": ["a.txt"]})
    add_turn(connection, "t2", "p1", "A file.", "{broken")
    add_turn(connection, "t3", "gone", "Nobody asked.", {"call": None, "response": None})
    return connection


def add_turn(connection: sqlite3.Connection, name: str, response: str, text: str, call: object) -> None:
    calls = call if isinstance(call, str) else json.dumps(call)
    seconds = TIME // 1000
    connection.execute(
        "INSERT INTO turns VALUES (?, ?, 0, 'raw', ?, ?, 'completed', ?, ?, 3, 4, 10, 20, 5, NULL, 0.5, 0.25, ?, ?)",
        (name, response, text, calls, seconds, seconds, TEXT_TIME, TIME + 5000),
    )


def test_what_it_holds_comes_with_its_times_and_costs(place: Place) -> None:
    path = place.home / "old" / "db.sqlite"
    with closing(make(path)):
        place.bring(path)
    assert place.talk("s1") == [("What is in here?", ["I look.", "A file."])]
    with SessionManager(place.database) as manager:
        session = manager.get_session(external_id="s1", agent="mandrake")
        (total,) = manager.usage(session_id=session.id).totals
    assert (session.title, session.description, session.metadata) == ("A talk", "About", {"a": 1})
    assert (session.created_at, session.source) == (TIME, "import:original")
    assert (total.input_tokens, total.output_tokens, total.cache_read_tokens, total.cost) == (20, 40, 10, 1.5)
    looked, told = place.rounds("s1")[0].response.turns
    (call,) = looked.tool_calls
    assert (call.server_name, call.method_name, call.arguments, call.response) == ("fs", "ls", {"p": "."}, ["a.txt"])
    assert (looked.stream_start_time, looked.stream_end_time) == (TIME, TIME + 5000)
    assert told.metadata == {"toolCalls": "{broken"}


def test_what_hangs_from_no_session_is_one_of_its_own(place: Place) -> None:
    path = place.home / ".mandrake" / "db.sqlite"
    make(path).close()
    place.bring()
    (orphans,) = [session for session in place.sessions() if session.external_id != "s1"]
    assert orphans.title == "Requests and answers without a session"
    assert place.talk(session_id=orphans.id) == [("Alone", []), ("", ["Nobody asked."])]
    assert place.is_sound()


def test_a_session_in_which_nothing_was_said_comes_too(place: Place) -> None:
    path = place.home / ".mandrake" / "db.sqlite"
    with closing(make(path)) as connection:
        connection.execute("INSERT INTO sessions VALUES ('s2', 'Empty', NULL, '{\"b\": 2}', ?, ?)", (TIME, TIME))
        for _ in range(2):
            place.bring()
            (empty,) = [session for session in place.sessions() if session.external_id == "s2"]
            assert (empty.title, empty.metadata, empty.created_at, empty.round_count) == ("Empty", {"b": 2}, TIME, 0)
        connection.execute("INSERT INTO rounds VALUES ('r2', 's2', 'q2', 'p2', 0, ?, ?)", (TIME, TIME))
    place.bring()
    assert place.talk("s2") == [("Alone", [])]
    assert place.is_sound()


def test_it_may_grow_and_is_not_written_to(place: Place) -> None:
    path = place.home / ".mandrake" / "db.sqlite"
    with closing(make(path)) as connection:
        place.bring()
        before = path.read_bytes()
        (end,) = place.told()
        assert end["turns"] == 0
        add_turn(connection, "t4", "p1", "And more.", "")
        place.bring()
        assert path.read_bytes() == before
    assert place.talk("s1") == [("What is in here?", ["I look.", "A file.", "And more."])]
    assert place.is_sound()


@pytest.mark.parametrize("scope", ["system", "workspace"])
def test_where_it_is_in_the_place_of_a_store_the_message_says_how_to_bring_it_in(place: Place, scope: str) -> None:
    """And that is so; it stays where it is, as it is."""
    path = place.home / ".mandrake" / "db.sqlite" if scope == "system" else place.workspace / ".ws" / "db.sqlite"
    usual: dict[str, Any] = {"HOME": str(place.home), "MANDRAKE_HOME": str(place.home / ".mandrake")}
    make(path).close()
    before = path.read_bytes()
    refused = run(place.workspace, "list", "--scope", scope, code=1, **usual)
    advice = "Name another file with --database"
    if scope == "system":
        advice = "Name another directory with the variable MANDRAKE_HOME"
        usual["MANDRAKE_HOME"] = str(place.home / "mine")
    assert advice in refused.err
    command = re.search("`mandrake-sessions ([^`]+)` then brings in what is in it", refused.err)
    assert command, refused.err
    run(place.workspace, *shlex.split(command[1]), **usual)
    assert "A talk" in run(place.workspace, "list", "--scope", "system", **usual).out
    assert path.read_bytes() == before
