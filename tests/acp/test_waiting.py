"""A store that cannot be written for a while: what is said waits, in memory, in a file, and then is said to be lost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from acp.recorded import Driver, Store, Talk, driving, recording, until, waiting_files
from commands.running import noise, run
from faults.mounts import switch
from mandrake_sessions import SessionManager
from mandrake_sessions.acp.events import Said, to_json
from mandrake_sessions.acp.homes import Homes
from mandrake_sessions.acp.waiting import Bounds
from mandrake_sessions.ids import new_id
from mandrake_sessions.model import TurnStatus
from wire import TIMEOUT

TINY = Bounds(memory=2000, file=200_000, rest=50_000)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks there")


@pytest.fixture
def store(database: Path) -> Store:
    """One with a session, which others hold and break."""
    with SessionManager(database) as manager:
        manager.create_session(title="before")
    return Store(database)


@contextmanager
def locked(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def numbers(talk: Talk, count: int = 300) -> str:
    """Says so many of them in one turn, and gives its whole text."""
    pieces = [f"{number} " for number in range(count)]
    for number, piece in enumerate(pieces):
        talk.say(piece, again=number > 0)
    return "".join(pieces)


@pytest.mark.parametrize("bounds", [Bounds(), TINY], ids=["memory", "file"])
def test_what_is_said_while_another_process_has_the_lock_is_stored_in_order(
    store: Store, bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANDRAKE_SESSIONS_BUSY_TIMEOUT", "0.2")
    told: list[str] = []
    with recording(store.database, bounds=bounds, tell=told.append) as homes:
        talk = Talk(homes.put)
        talk.ask("first")
        talk.say("a")
        until(lambda: store.talk()[0][2])
        with locked(store.database):
            talk.more("b")
            talk.end()
            talk.ask("second")
            text = numbers(talk)
            talk.call(status="completed", response="x" * 3000)
            until(lambda: told)
            files = waiting_files(store.database.parent)
            assert len(files) == (bounds is TINY)
            assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
        talk.end()
    assert store.talk() == [
        ("first", "completed", [("message", "ab", "completed")]),
        ("second", "completed", [("message", text, "completed"), ("tool_calls", "", "completed")]),
    ]
    assert waiting_files(store.database.parent) == []
    first, second = told
    assert "cannot be stored" in first
    assert str(store.database) in first
    assert "can be written again" in second
    assert store.is_sound()


def test_what_does_not_even_fit_into_the_file_is_said_to_be_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDRAKE_SESSIONS_BUSY_TIMEOUT", "0.2")
    told: list[str] = []
    homes = Homes(database=str(store.database), tell=told.append, bounds=Bounds(2000, 20_000, 50_000))
    talk = Talk(homes.put)
    talk.ask("first")
    first = talk.say("kept ")
    until(lambda: store.talk()[0][2])
    with locked(store.database):
        for _ in range(100):
            talk.more("y" * 500)
        talk.whole()
        talk.say("only this")
        talk.end(stop_reason="end_turn")
        talk.ask("second")
        talk.say("z" * 30_000)
        talk.end()
        until(lambda: told)
    until(lambda: len(told) == 2 and not waiting_files(store.database.parent))
    talk.ask("third")
    talk.say("whole")
    talk.end()
    assert not homes.end(TIMEOUT)
    one, two, three = store.rounds()
    (turn, *_) = one.response.turns
    assert turn.id == first
    assert turn.content is not None
    assert turn.content.startswith("kept yyyy")
    lost = 100 * 500 + len("kept ") - len(turn.content)
    assert turn.metadata["lost"]["bytes"] == lost
    assert (turn.status, one.response.status) == (TurnStatus.ERROR, "error")
    assert turn.error is not None
    assert turn.error.startswith(f"{lost} bytes of text could not be kept: the store could not be written")
    assert (one.response.stop_reason, one.metadata["lost"]["bytes"] >= lost) == ("end_turn", True)
    assert two.metadata["lost"] == {"events": 1, "bytes": 30_000}
    assert [turn.error is not None for turn in two.response.turns] == [True]
    assert store.talk()[2] == ("third", "completed", [("message", "whole", "completed")])
    assert three.metadata == {}
    assert "messages could not be kept" in told[1]
    assert store.is_sound()


@pytest.mark.parametrize("how", ["end", "kill"])
def test_what_waits_at_the_end_is_taken_up_by_the_next_recorder(store: Store, how: str) -> None:
    with locked(store.database), driving(store.database, 1.0) as driver:
        talk = Talk(driver.put)
        talk.ask("first")
        text = numbers(talk)
        if how == "kill":
            # Enough that not all of it waits in memory.
            for _ in range(20):
                talk.show("x" * 1_000_000)
            talk.say("last")
            until(lambda: b"last" in waiting_files(store.database.parent)[0].read_bytes())
            driver.kill()
        else:
            talk.end()
            is_stored, told = driver.end()
            assert not is_stored
            assert "the next recorder stores it" in told
    (path,) = waiting_files(store.database.parent)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [session.title for session in store.sessions()] == ["before"]
    with recording(store.database) as homes:
        talk = Talk(homes.put)
        talk.ask("second")
        talk.end()
    first, second = store.talk()
    assert first[:2] == ("first", "completed" if how == "end" else "interrupted")
    assert first[2][0][1] == text
    assert second == ("second", "completed", [])
    assert waiting_files(store.database.parent) == []
    assert store.is_sound()


def test_two_recorders_at_once_take_up_what_waits_once(store: Store) -> None:
    texts = []
    with locked(store.database):
        for number in range(4):
            with driving(store.database, 0.1) as driver:
                talk = Talk(driver.put, f"of {number}")
                talk.ask("?")
                texts.append(numbers(talk))
                talk.end()
                assert not driver.end()[0]
    assert len(waiting_files(store.database.parent)) == 4
    drivers = [Driver(store.database) for _ in range(3)]
    for driver in drivers:
        Talk(driver.put, f"by {driver.process.pid}", is_kept=True)
    assert [driver.end()[0] for driver in drivers] == [True] * 3
    for number, text in enumerate(texts):
        assert store.talk(f"of {number}") == [("?", "completed", [("message", text, "completed")])]
    assert waiting_files(store.database.parent) == []


def left_waiting(store: Store) -> Path:
    """A file with one round, which waits."""
    with locked(store.database), driving(store.database, 0.1) as driver:
        talk = Talk(driver.put)
        talk.ask("?")
        talk.say("yes")
        talk.end()
        assert not driver.end()[0]
    (path,) = waiting_files(store.database.parent)
    return path


def test_what_is_half_stored_when_a_recorder_is_killed_is_not_stored_twice(store: Store) -> None:
    path = left_waiting(store)
    kept = path.read_bytes()
    with recording(store.database) as homes:
        Talk(homes.put, "other", is_kept=True)
    before = store.talk()
    assert before == [("?", "completed", [("message", "yes", "completed")])]
    # As where it was killed just before it deleted the file.
    path.write_bytes(kept)
    path.chmod(0o600)
    with recording(store.database) as homes:
        Talk(homes.put, "other", is_kept=True)
    assert store.talk() == before
    assert not path.exists()


@pytest.mark.parametrize("how", ["open to others", "a link", "two names", "a directory"])
def test_a_file_that_is_not_private_is_left_alone(store: Store, tmp_path: Path, how: str) -> None:
    path = left_waiting(store)
    if how == "open to others":
        path.chmod(0o644)
    elif how == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif how == "two names":
        os.link(path, tmp_path / "elsewhere")
    else:
        path.unlink()
        path.mkdir()
    with recording(store.database) as homes:
        Talk(homes.put, "other", is_kept=True)
    assert {session.external_id for session in store.sessions()} == {None, "other"}
    assert path.exists()


def test_lines_that_are_no_events_are_left_out(store: Store) -> None:
    path = left_waiting(store)
    lines = path.read_bytes().splitlines(keepends=True)
    broken: list[Any] = [
        b"\xff\xfe\n", b"{}\n", b"[]\n", b"null\n", b"[0,[]]\n", b'[0,["Said"]]\n', b"[" * 100_000 + b"\n",
        b'[0,["__class__",{}]]\n', b'[null,["Said",{"session":1}]]\n',
        json.dumps([0, ["Ended", {"session": "one", "round": "../x", "at": 1}]]).encode() + b"\n",
        json.dumps([0, to_json(Said("one", new_id(), new_id(), "message", "?", -1))]).encode() + b"\n",
    ]  # fmt: skip
    with path.open("wb") as file:
        for number, line in enumerate(lines):
            file.writelines([*broken, line] if number % 2 else [line, *broken])
        file.write(b'[0,["Said",{"cut off')
    with recording(store.database) as homes:
        Talk(homes.put, "other", is_kept=True)
    assert store.talk() == [("?", "completed", [("message", "yes", "completed")])]
    assert not path.exists()


def test_a_directory_that_may_only_be_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANDRAKE_HOME", str(tmp_path / "home"))
    told: list[str] = []
    with switch(store.database.parent) as directory:
        directory.set(writable=False)
        homes = Homes(database=str(store.database), tell=told.append, bounds=TINY)
        talk = Talk(homes.put)
        talk.ask("?")
        text = numbers(talk)
        until(lambda: told)
        (path,) = waiting_files(tmp_path / "home")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        directory.set(writable=True)
        talk.end()
        assert homes.end(TIMEOUT), told
    assert store.talk() == [("?", "completed", [("message", text, "completed")])]
    assert waiting_files(tmp_path / "home") == []


def test_a_full_disk(store: Store) -> None:
    """No file may grow: the store cannot be written, and nothing can wait in a file beside it."""
    talk_events: list[Any] = []
    talk = Talk(talk_events.append)
    talk.ask("?")
    text = numbers(talk, 50)
    talk.end()
    driver = subprocess.Popen(
        [sys.executable, "-c", _UNDER_A_LIMIT, str(store.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, told = driver.communicate(json.dumps([to_json(event) for event in talk_events], default=dict), 2 * TIMEOUT)
    finally:
        driver.kill()
    assert out == "True\n", told
    assert "cannot be stored" in told
    assert "can be written again" in told
    assert store.talk() == [("?", "completed", [("message", text, "completed")])]
    assert store.is_sound()


_UNDER_A_LIMIT = """
import json, resource, signal, sys, time
from mandrake_sessions.acp.events import from_json
from mandrake_sessions.acp.homes import Homes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
told = []
def tell(line):
    told.append(line)
    print(line, file=sys.stderr, flush=True)
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
homes = Homes(database=sys.argv[1], tell=tell)
for value in json.load(sys.stdin):
    homes.put(from_json(value))
while not told:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(homes.end(20), flush=True)
"""


@pytest.mark.parametrize("how", ["deleted", "replaced", "put back"])
def test_a_store_that_goes_while_something_is_said(store: Store, tmp_path: Path, how: str) -> None:
    other = tmp_path / "other.sqlite"
    with SessionManager(other) as manager:
        manager.create_session(title="of another store")
    with recording(store.database) as homes:
        talk = Talk(homes.put, cwd="/x")
        talk.ask("first")
        talk.say("before ")
        until(lambda: store.talk()[0][2][0][1] == "before ")
        for path in store.database.parent.glob("db.sqlite*"):
            path.rename(tmp_path / path.name)
        if how == "replaced":
            shutil.copy(other, store.database)
        elif how == "put back":
            time.sleep(0.3)
            for path in tmp_path.glob("db.sqlite*"):
                path.rename(store.database.parent / path.name)
        talk.more("after")
        talk.end()
        talk.ask("second")
        talk.say("whole")
        talk.end()
    first, second = store.talk()
    assert second == ("second", "completed", [("message", "whole", "completed")])
    if how == "put back":
        assert first == ("first", "completed", [("message", "before after", "completed")])
    else:
        assert first == ("first", "error", [("message", "after", "error")])
        assert store.rounds()[0].response.turns[0].metadata["lost"]["bytes"] == len("before ")
        assert (store.session().cwd, store.session().source) == ("/x", "acp")
    assert store.is_sound()


def test_a_damaged_store(store: Store) -> None:
    """What is said waits until somebody has mended it."""
    run(store.database.parent, "backup", "--database", store.database, store.database.parent / "copy.sqlite")
    noise(store.database, 0, 8192)
    for path in store.database.parent.glob("db.sqlite-*"):
        if path.is_file():
            path.unlink()
    with driving(store.database, 1.0) as driver:
        talk = Talk(driver.put)
        talk.ask("?")
        text = numbers(talk)
        talk.end()
        is_stored, told = driver.end()
    assert not is_stored
    assert "cannot be stored" in told
    store.database.unlink()
    shutil.move(store.database.parent / "copy.sqlite", store.database)
    with recording(store.database) as homes:
        Talk(homes.put, "other", is_kept=True)
    assert store.talk() == [("?", "completed", [("message", text, "completed")])]


def test_a_recorder_that_has_nothing_to_store_waits_for_no_lock(store: Store) -> None:
    with locked(store.database):
        assert Homes(database=str(store.database)).end(TIMEOUT)
