"""opencode's database: messages in rows, which change while a turn runs, and go when somebody takes them back."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from importing.importing import Place
from importing.test_hostile import odd
from mandrake_sessions import SessionManager
from mandrake_sessions.model import Session

OLD = """
CREATE TABLE session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, title TEXT, version TEXT,
    time_created INTEGER, time_updated INTEGER, time_archived INTEGER);
CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER, time_updated INTEGER, data TEXT);
CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT, time_created INTEGER, time_updated INTEGER,
    data TEXT);
"""
NEW = """
CREATE TABLE session_v2 (id TEXT PRIMARY KEY, parent_id TEXT, fork_session_id TEXT, directory TEXT, title TEXT,
    version TEXT, agent TEXT, time_created INTEGER, time_updated INTEGER, time_archived INTEGER);
CREATE TABLE session_message (id TEXT PRIMARY KEY, session_id TEXT, type TEXT, seq INTEGER, time_created INTEGER,
    time_updated INTEGER, data TEXT);
"""
TIME = 1_772_359_200_000
TOKENS = {"input": 10, "output": 20, "reasoning": 5, "cache": {"read": 30, "write": 0}}


class Database:
    """One that the program is writing."""

    def __init__(self, path: Path, schema: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        for statement in schema.split(";"):
            self.connection.execute(statement)
        self.clock = TIME

    def tick(self) -> int:
        self.clock += 1000
        return self.clock

    def insert(self, table: str, **values: Any) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608

    def session(self, name: str, title: str = "A talk", parent: str | None = None, table: str = "session") -> None:
        now = self.tick()
        self.insert(table, id=name, parent_id=parent, directory="/home/somebody", title=title, version="1.18.0",
                    time_created=now, time_updated=now)  # fmt: skip

    def message(self, name: str, session: str, at: int | None = None, **data: Any) -> None:
        now = self.tick() if at is None else at
        made = {"time": {"created": now}, **data}
        self.insert("message", id=name, session_id=session, time_created=now, time_updated=now, data=json.dumps(made))

    def part(self, name: str, message: str, session: str, **data: Any) -> None:
        now = self.tick()
        self.insert("part", id=name, message_id=message, session_id=session, time_created=now, time_updated=now,
                    data=json.dumps(data))  # fmt: skip

    def ask(self, name: str, session: str, text: str, at: int | None = None) -> None:
        self.message(name, session, at, role="user")
        self.part(f"{name}-1", name, session, type="text", text=text)

    def say(self, name: str, session: str, text: str, at: int | None = None) -> None:
        self.message(name, session, at, role="assistant", modelID="m", cost=0.5, tokens=TOKENS, finish="stop")
        self.text(f"{name}-1", name, session, text)
        self.change("message", name, time={"created": self.clock, "completed": self.clock})

    def text(self, name: str, message: str, session: str, text: str, kind: str = "text") -> None:
        self.part(name, message, session, type=kind, text=text, time={"start": self.clock, "end": self.clock})

    def call(self, name: str, message: str, session: str, **state: Any) -> None:
        made = {"input": {"command": "ls"}, "time": {"start": self.clock, "end": self.clock}, **state}
        self.part(name, message, session, type="tool", tool="bash", callID=f"call-{name}", state=made)

    def change(self, table: str, name: str, **data: Any) -> None:
        ((stored,),) = self.connection.execute(f"SELECT data FROM {table} WHERE id = ?", (name,)).fetchall()  # noqa: S608
        made = json.dumps(json.loads(stored) | data)
        self.connection.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (made, name))  # noqa: S608
        self.connection.execute(f"UPDATE {table} SET time_updated = ? WHERE id = ?", (self.tick(), name))  # noqa: S608

    def remove(self, name: str) -> None:
        self.connection.execute("DELETE FROM message WHERE id = ?", (name,))
        self.connection.execute("DELETE FROM part WHERE message_id = ?", (name,))


@contextmanager
def opencode(place: Place, schema: str = OLD) -> Iterator[Database]:
    database = Database(place.home / ".local" / "share" / "opencode" / "opencode.db", schema)
    with closing(database.connection):
        yield database


def one(place: Place, name: str) -> Session:
    with SessionManager(place.database) as manager:
        return manager.get_session(external_id=name, agent="opencode")


def test_thoughts_texts_and_tools_come_with_what_they_used(place: Place) -> None:
    with opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "What is in here?")
        database.message("m2", "s1", role="assistant", modelID="m", cost=0.25, tokens=TOKENS, finish="tool-calls")
        database.text("m2-1", "m2", "s1", "Hm.", "reasoning")
        database.text("m2-2", "m2", "s1", "I look.")
        database.call("m2-3", "m2", "s1", status="completed", output="a.txt", metadata={"exit": 0})
        database.call("m2-4", "m2", "s1", status="completed", output="", metadata={"exit": 2})
        refused = "The user rejected permission to use this specific tool call."
        database.call("m2-5", "m2", "s1", status="error", error=refused)
        database.part("m2-6", "m2", "s1", type="step-finish", tokens=TOKENS, cost=0.25)
        database.say("m3", "s1", "A file.")
        place.bring()
    (asked,) = place.rounds("s1")
    assert [(turn.kind, turn.content, turn.model) for turn in asked.response.turns] == [
        ("thought", "Hm.", "m"), ("message", "I look.", "m"), ("message", "A file.", "m"),
    ]  # fmt: skip
    calls = asked.response.turns[1].tool_calls
    assert [(call.id, call.status, call.response, call.metadata) for call in calls] == [
        ("call-m2-3", "completed", "a.txt", {"exitCode": 0}),
        ("call-m2-4", "failed", "", {"exitCode": 2}),
        ("call-m2-5", "failed", refused, {"rejected": True}),
    ]
    assert calls[0].arguments == {"command": "ls"}
    assert asked.response.status == "completed"
    session = one(place, "s1")
    assert (session.title, session.cwd, session.created_at) == ("A talk", "/home/somebody", TIME + 1000)
    with SessionManager(place.database) as manager:
        (total,) = manager.usage().totals
    assert (total.input_tokens, total.output_tokens, total.thought_tokens, total.cache_read_tokens) == (20, 40, 10, 60)
    assert total.cost == 0.75
    assert place.is_sound()


def test_what_was_cut_off_failed_or_was_put_in_says_so(place: Place) -> None:
    aborted = {"name": "MessageAbortedError", "data": {"message": "Aborted"}}
    with opencode(place) as database:
        database.session("s1", "New session - 2026-03-01T10:00:00.000Z")
        database.ask("m1", "s1", "Tell")
        database.message("m2", "s1", role="assistant", error=aborted)
        database.part("m2-1", "m2", "s1", type="text", text="I was sayi", time={"start": TIME})
        database.ask("m3", "s1", "Again")
        database.message("m4", "s1", role="assistant", error={"name": "APIError", "data": {"message": "no credit"}})
        database.message("m5", "s1", role="user")
        database.part("m5-1", "m5", "s1", type="compaction", auto=True)
        database.message("m6", "s1", role="assistant", summary=True, tokens=TOKENS, time={"completed": TIME})
        database.text("m6-1", "m6", "s1", "In short")
        database.message("m7", "s1", role="user")
        database.part("m7-1", "m7", "s1", type="text", text="Continue", synthetic=True)
        database.say("m8", "s1", "I go on")
        place.bring()
    rounds = place.rounds("s1")
    assert [(each.origin, each.request.content) for each in rounds] == [
        ("user", "Tell"), ("user", "Again"), ("system", ""), ("system", ""),
    ]  # fmt: skip
    assert [(each.response.status, each.response.stop_reason) for each in rounds] == [
        ("interrupted", "Aborted"), ("error", "no credit"), ("completed", None), ("completed", None),
    ]  # fmt: skip
    assert [[(turn.kind, turn.status, turn.content) for turn in each.response.turns] for each in rounds] == [
        [("message", "interrupted", "I was sayi")], [], [("compaction", "completed", "In short")],
        [("message", "completed", "I go on")],
    ]  # fmt: skip
    assert one(place, "s1").title is None


def test_a_subagent_hangs_from_the_call_that_started_it(place: Place) -> None:
    with opencode(place) as database:
        database.session("s2", parent="s1")
        database.ask("n1", "s2", "Look around")
        database.say("n2", "s2", "I did")
        database.session("s1")
        database.ask("m1", "s1", "Delegate")
        database.message("m2", "s1", role="assistant")
        database.call("m2-1", "m2", "s1", status="completed", output="done", metadata={"sessionId": "s2"})
        place.bring()
    child, parent = one(place, "s2"), one(place, "s1")
    assert (child.relation, child.parent_id, child.parent_tool_call_id) == ("subagent", parent.id, "call-m2-1")
    assert place.talk("s2") == [("Look around", ["I did"])]
    assert place.rounds("s2")[0].origin == "user"


def test_a_fork_does_not_double_what_it_copied(place: Place) -> None:
    with opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "First", at=TIME + 50)
        database.say("m2", "s1", "One", at=TIME + 60)
        database.session("s2", "A talk (fork #1)")
        database.ask("f1", "s2", "First", at=TIME + 50)
        database.say("f2", "s2", "One", at=TIME + 60)
        database.ask("f3", "s2", "In the fork")
        database.say("f4", "s2", "Yes")
        # The original was used last.
        database.ask("m3", "s1", "Second")
        database.say("m4", "s1", "Two")
        place.bring()
    fork, original = one(place, "s2"), one(place, "s1")
    assert (fork.relation, fork.parent_id) == ("fork", original.id)
    assert [each.copied_from_id for each in place.rounds("s2")] == [place.rounds("s1")[0].id, None]
    with SessionManager(place.database) as manager:
        used = manager.usage()
    assert (used.rounds, used.turns, used.totals[0].input_tokens) == (3, 3, 30)


def test_it_grows_while_the_program_writes(place: Place) -> None:
    """Whenever it is read: nothing comes twice, and no text is cut short."""
    running = {"start": TIME}
    with opencode(place) as database:
        database.session("s1")
        place.bring()
        database.ask("m1", "s1", "First")
        place.bring()
        assert place.talk("s1") == [("First", [])]
        database.message("m2", "s1", role="assistant", modelID="m", tokens=TOKENS)
        database.part("m2-1", "m2", "s1", type="text", text="I lo", time=running)
        place.bring()
        assert place.talk("s1") == [("First", [])]
        database.change("part", "m2-1", text="I look.", time={**running, "end": TIME})
        database.call("m2-2", "m2", "s1", status="running")
        place.bring()
        assert place.rounds("s1")[0].response.status == "open"
        database.change("part", "m2-2", state={"status": "completed", "input": {}, "output": "a.txt"})
        database.change("message", "m2", finish="stop", time={"created": TIME, "completed": TIME})
        database.ask("m3", "s1", "Second")
        before = database.path.read_bytes()
        place.bring()
        assert database.path.read_bytes() == before
        database.say("m4", "s1", "Two")
        place.bring()
        (end,) = place.told()
    assert end["turns"] == 0
    assert place.talk("s1") == [("First", ["I look."]), ("Second", ["Two"])]
    (call,) = place.rounds("s1")[0].response.turns[0].tool_calls
    assert (call.status, call.response) == ("completed", "a.txt")
    with SessionManager(place.database) as manager:
        assert (manager.usage().turns, manager.usage().totals[0].input_tokens) == (2, 20)
    assert place.is_sound()


def test_only_the_sessions_that_have_changed_are_read(place: Place) -> None:
    with opencode(place) as database:
        for name in ("s1", "s2"):
            database.session(name)
            database.ask(f"{name}-m1", name, "First")
        place.bring()
        database.say("s2-m2", "s2", "One")
        told = place.told()
    assert [(line["externalId"], line["what"], line["turns"]) for line in told[:-1]] == [("s2", "grown", 1)]


def test_what_was_taken_back_is_another_branch(place: Place) -> None:
    with opencode(place) as database:
        database.session("s1")
        for number, text in enumerate(("First", "Second", "Third")):
            database.ask(f"m{number}a", "s1", text)
            database.say(f"m{number}b", "s1", text.upper())
        place.bring()
        for name in ("m1a", "m1b", "m2a", "m2b"):
            database.remove(name)
        database.ask("m3a", "s1", "Another")
        database.say("m3b", "s1", "ANOTHER")
        place.bring()
        place.bring()
    assert place.talk("s1") == [("First", ["FIRST"]), ("Another", ["ANOTHER"])]
    (fork,) = [session for session in place.sessions() if session.external_id is None]
    assert [request for request, _ in place.talk(session_id=fork.id)] == ["First", "Second", "Third"]
    assert place.is_sound()


def test_rows_that_were_written_again_are_noticed(place: Place) -> None:
    with opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "First")
        database.say("m2", "s1", "One")
        database.ask("m3", "s1", "Second")
        place.bring()
        # What the program notes beside what was said is no other text.
        database.change("message", "m1", summary={"diffs": []})
        assert not place.bring().err
        database.change("part", "m2-1", text="Never")
        database.say("m4", "s1", "Two")
        told = place.bring(code=1).err
    assert f"{database.path}: rows of the session before the message 'm3' say something else" in told
    assert place.talk("s1") == [("First", ["One"]), ("Second", ["Two"])]
    place.bring()


def test_opencode_2_has_tables_of_its_own(place: Place) -> None:
    with opencode(place, OLD + NEW) as database:
        database.session("s1", "old copy")
        database.ask("old", "s1", "An old copy")
        database.session("s3", "only old")
        database.ask("old3", "s3", "Only old")
        database.session("s1", table="session_v2")
        database.session("s2", parent="s1", table="session_v2")
        tool = {"type": "tool", "id": "call-1", "name": "subagent", "time": {"created": TIME, "completed": TIME},
                "state": {"status": "completed", "input": {"prompt": "x"}, "metadata": {"sessionID": "s2"},
                          "content": [{"type": "text", "text": "done"}]}}  # fmt: skip
        failed = {"type": "tool", "id": "call-2", "name": "read", "state": {"status": "error", "input": {},
                  "error": {"type": "tool.execution", "message": "no such file"}}}  # fmt: skip
        content = [{"type": "reasoning", "text": "Hm."}, {"type": "text", "text": "I look."}, tool, failed]
        rows = [
            ("s1", "model-switched", {}),
            ("s1", "user", {"text": "Look", "files": [{"uri": "file:///a", "mime": "text/plain"}]}),
            ("s1", "assistant", {"content": content, "tokens": TOKENS, "cost": 0.5, "finish": "tool-calls",
                                 "model": {"id": "m"}, "time": {"completed": TIME}}),
            ("s1", "synthetic", {"text": "A note in between"}),
            ("s1", "assistant", {"content": [{"type": "text", "text": "Done."}], "finish": "stop",
                                 "time": {"completed": TIME}}),
            ("s1", "idle", {"outcome": "succeeded"}),
            ("s1", "synthetic", {"text": "A task has ended"}),
            ("s1", "assistant", {"content": [{"type": "text", "text": "Good."}], "finish": "stop",
                                 "time": {"completed": TIME}}),
            ("s2", "user", {"text": "x"}),
            ("s2", "idle", {"outcome": "interrupted"}),
        ]  # fmt: skip
        for number, (session, kind, data) in enumerate(rows):
            now = database.tick()
            database.insert("session_message", id=f"n{number}", session_id=session, type=kind, seq=number,
                            time_created=now, time_updated=now, data=json.dumps(data))  # fmt: skip
        place.bring()
        assert not place.bring().err
    assert place.talk("s1") == [("Look", ["Hm.", "I look.", "Done."]), ("", ["Good."])]
    asked, noted = place.rounds("s1")
    assert (asked.origin, noted.origin) == ("user", "system")
    assert [(call.id, call.status, call.response) for call in asked.response.turns[1].tool_calls] == [
        ("call-1", "completed", "done"), ("call-2", "failed", "no such file"),
    ]  # fmt: skip
    child = one(place, "s2")
    assert (child.relation, child.parent_tool_call_id) == ("subagent", "call-1")
    assert place.rounds("s2")[0].response.status == "interrupted"
    assert place.talk("s3") == [("Only old", [])]
    with SessionManager(place.database) as manager:
        assert manager.usage().totals[0].cost == 0.5


@pytest.mark.parametrize("data", [b"\xff\xfe", "{nonsense", "[1]", "null", "[" * 100_000, 5])
def test_a_row_that_cannot_be_read_is_named_and_the_rest_goes_on(place: Place, data: Any) -> None:
    with opencode(place) as database:
        database.session("s1")
        database.ask("m1", "s1", "First")
        database.say("m2", "s1", "One")
        database.text("m2-2", "m2", "s1", "Two")
        database.connection.execute("UPDATE part SET data = ? WHERE id = 'm2-1'", (data,))
        told = place.bring(code=1).err
    assert "the row 'm2-1' of part has " in told
    assert place.talk("s1") == [("First", ["Two"])]


def test_any_value_in_any_place_does_no_harm(place: Place) -> None:
    chance = random.Random(5)
    with opencode(place, OLD + NEW) as database:
        for number in range(60):
            session, kind = f"s{number}", "session" if number % 2 else "session_v2"
            database.session(session, table=kind)
            database.ask(f"{session}-m1", session, "First")
            database.message(f"{session}-m2", session, role="assistant", tokens=TOKENS, cost=1, error={"name": "x"})
            database.call(f"{session}-m2-1", f"{session}-m2", session, status="completed", output="x",
                          metadata={"sessionId": "s1", "exit": 1})  # fmt: skip
            block = {"type": "tool", "id": "x", "name": "x", "state": {"status": "completed", "content": []}}
            for row, type_ in enumerate(("user", "assistant", "synthetic", "compaction", "shell", "idle")):
                data = {"text": "x", "content": [block], "tokens": TOKENS, "outcome": "failed", "files": [{}]}
                database.insert("session_message", id=f"{session}-n{row}", session_id=session, type=type_, seq=row,
                                time_created=TIME, time_updated=TIME, data=json.dumps(data))  # fmt: skip
        for table in ("message", "part", "session_message"):
            for name, stored in database.connection.execute(f"SELECT id, data FROM {table}").fetchall():  # noqa: S608
                made = json.dumps(odd(json.loads(stored), chance))
                database.connection.execute(f"UPDATE {table} SET data = ? WHERE id = ?", (made, name))  # noqa: S608
        for table in ("session", "session_v2", "message", "part", "session_message"):
            columns = [row[1] for row in database.connection.execute(f"PRAGMA table_info({table})")]
            for column in columns[1:]:
                value = chance.choice([None, -1, 2**62, 1.5, "x", b"\xff", "../.."])
                change = f"UPDATE {table} SET {column} = ? WHERE rowid % 13 = ?"  # noqa: S608
                database.connection.execute(change, (value, chance.randrange(13)))
        told = place.told(code=1)
    assert [(line["path"], line["reason"]) for line in told if line.get("what") == "failed"] == []
    assert place.is_sound()


def test_a_file_that_is_no_such_database_is_left_alone(place: Place) -> None:
    directory = place.home / ".local" / "share" / "opencode"
    directory.mkdir(parents=True)
    (directory / "opencode.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (directory / "opencode-link.db").symlink_to("opencode.db")
    assert "There is nothing to bring in" in place.bring().out
