"""An old program beside a file that a newer one has migrated: it does what the migration says that it may, and no more,
whether it opens the file after that or has it open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions.store.sqlite.migrate import latest_version
from wire import TIMEOUT, Conversation, Wire, serving

NEWER = latest_version() + 1


def migrate_as_a_newer_program(database: Path, min_writer: int, min_reader: int) -> None:
    """What the next release's migration leaves: a column more, and who may still use the file."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ALTER TABLE session ADD COLUMN colour TEXT")
        connection.execute(
            "INSERT INTO migration VALUES (?, 'next.sql', '', ?, ?, 0, '99.0')", (NEWER, min_writer, min_reader)
        )
        connection.execute(f"PRAGMA user_version={NEWER}")


@pytest.fixture
def stored(workspace: Path) -> Path:
    with serving(workspace) as wire:
        conversation = Conversation(wire, title="kept")
        turn = conversation.turn(content="so far", detached=True)
        wire.request("turn/append", turnId=turn, content=", and more")
    return workspace / ".ws" / "db.sqlite"


@pytest.fixture(params=[False, True], ids=["opened-after", "open-before"])
def migrated(request: pytest.FixtureRequest, workspace: Path, stored: Path) -> Iterator[object]:
    """A function that gives a server of ours on the file, which was migrated after it was opened, or before."""
    wires: list[Wire] = []

    def open_beside(min_writer: int, min_reader: int) -> Wire:
        if not request.param:
            migrate_as_a_newer_program(stored, min_writer, min_reader)
        wire = Wire(workspace)
        wires.append(wire)
        if request.param:
            wire.request("session/list")
            migrate_as_a_newer_program(stored, min_writer, min_reader)
        return wire

    yield open_beside
    for wire in wires:
        wire.close()


def text_of(wire: Wire) -> str:
    (session,) = wire.request("session/list", query="kept")["sessions"]
    (found,) = wire.request("session/history", sessionId=session["id"])["rounds"]
    return str(found["response"]["turns"][0]["content"])


def test_a_migration_that_only_adds_cuts_nobody_off(migrated: object) -> None:
    wire: Wire = migrated(1, 1)  # type: ignore[operator]
    wire.request("session/create", title="by the old program")
    assert text_of(wire) == "so far, and more"
    assert wire.request("server/health")["status"] == "ok"


def test_a_file_for_newer_writers_is_read_and_not_written(migrated: object, stored: Path) -> None:
    wire: Wire = migrated(NEWER, 1)  # type: ignore[operator]
    for method, params in (("session/create", {}), ("session/update", session_of(wire))):
        data = wire.error(method, **params)["data"]
        assert (data["kind"], data["reason"]) == ("storage", "schemaTooNew")
    (session,) = wire.request("session/list")["sessions"]
    turn = wire.request("session/history", sessionId=session["id"])["rounds"][0]["response"]["turns"][0]
    data = wire.error("turn/append", turnId=turn["id"], content="by the old program")["data"]
    assert (data["kind"], data["reason"]) == ("storage", "schemaTooNew")
    assert text_of(wire) == "so far, and more"
    assert wire.notification("server/healthChanged")["status"] == "down"
    with closing(sqlite3.connect(stored)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)


def session_of(wire: Wire) -> dict[str, str]:
    return {"sessionId": wire.request("session/list")["sessions"][0]["id"], "title": "by the old program"}


def test_a_file_for_newer_readers_is_not_opened_and_not_touched(workspace: Path, stored: Path) -> None:
    migrate_as_a_newer_program(stored, NEWER, NEWER)
    before = stored.read_bytes()
    with serving(workspace) as wire:
        for method in ("session/list", "session/create", "turn/subscribe"):
            data = wire.error(method)["data"]
            assert (data["kind"], data["reason"]) == ("storage", "schemaTooNew")
        for health in wire.request("server/health"), wire.notification("server/healthChanged"):
            assert (health["status"], health["stores"][0]["status"]) == ("down", "down")
            assert str(NEWER) in health["stores"][0]["lastError"]
    assert stored.read_bytes() == before


@pytest.mark.parametrize("write", [True, False])
def test_an_open_window_leaves_a_file_for_newer_readers_alone(workspace: Path, stored: Path, write: bool) -> None:
    """At once where it would write; what it would read it could misunderstand, so it notices that by itself."""
    with serving(workspace) as wire:
        wire.request("session/list")
        migrate_as_a_newer_program(stored, NEWER, NEWER)
        if write:
            data = wire.error("session/create")["data"]
            assert (data["kind"], data["reason"]) == ("storage", "schemaTooNew")
        told = wire.notification("server/healthChanged")["stores"][0]
        assert (told["status"], str(NEWER) in told["lastError"]) == ("down", True)
        wire.let_be("server/healthChanged")
        wire.request("server/health")
        deadline = time.monotonic() + TIMEOUT
        while "result" in (answer := wire.answer(wire.post("session/list"))):
            assert time.monotonic() < deadline
        assert answer["error"]["data"]["reason"] == "schemaTooNew"
    with closing(sqlite3.connect(stored)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)
