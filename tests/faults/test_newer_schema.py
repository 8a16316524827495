"""An old program beside a file that a newer one has migrated: it does what the migration says that it may, and no more,
whether it opens the file after that or has it open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mandrake_sessions.client import RequestFailed
from mandrake_sessions.store.sqlite.migrate import latest_version
from strict import StrictSyncClient, Talk, connected
from wire import TIMEOUT

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
    with connected(workspace) as client:
        conversation = Talk(client, title="kept")
        turn = conversation.turn(content="so far", detached=True)
        client.turn_append(turn_id=turn, content=", and more")
    return workspace / ".ws" / "db.sqlite"


@pytest.fixture(params=[False, True], ids=["opened-after", "open-before"])
def migrated(request: pytest.FixtureRequest, workspace: Path, stored: Path) -> Iterator[object]:
    """A function that gives a server of ours on the file, which was migrated after it was opened, or before."""
    with ExitStack() as stack:

        def open_beside(min_writer: int, min_reader: int) -> StrictSyncClient:
            if not request.param:
                migrate_as_a_newer_program(stored, min_writer, min_reader)
            client = stack.enter_context(connected(workspace))
            if request.param:
                client.session_list()
                migrate_as_a_newer_program(stored, min_writer, min_reader)
            return client

        yield open_beside


def text_of(client: StrictSyncClient) -> str:
    (session,) = client.session_list(query="kept").sessions
    (found,) = client.session_history(session_id=session.id).rounds
    return str(found.response.turns[0].content)


def test_a_migration_that_only_adds_cuts_nobody_off(migrated: object) -> None:
    client: StrictSyncClient = migrated(1, 1)  # type: ignore[operator]
    client.session_create(title="by the old program")
    assert text_of(client) == "so far, and more"
    assert client.server_health().status == "ok"


def test_a_file_for_newer_writers_is_read_and_not_written(migrated: object, stored: Path) -> None:
    client: StrictSyncClient = migrated(NEWER, 1)  # type: ignore[operator]
    for method, params in (("session/create", {}), ("session/update", session_of(client))):
        error = client.error(method, **params)
        assert (error.kind, error.data["reason"]) == ("storage", "schemaTooNew")
    (session,) = client.session_list().sessions
    turn = client.session_history(session_id=session.id).rounds[0].response.turns[0]
    error = client.error("turn/append", turnId=turn.id, content="by the old program")
    assert (error.kind, error.data["reason"]) == ("storage", "schemaTooNew")
    assert text_of(client) == "so far, and more"
    assert client.told("server/healthChanged").status == "down"
    with closing(sqlite3.connect(stored)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)


def session_of(client: StrictSyncClient) -> dict[str, str]:
    return {"sessionId": client.session_list().sessions[0].id, "title": "by the old program"}


def test_a_file_for_newer_readers_is_not_opened_and_not_touched(workspace: Path, stored: Path) -> None:
    migrate_as_a_newer_program(stored, NEWER, NEWER)
    before = stored.read_bytes()
    with connected(workspace) as client:
        for method in ("session/list", "session/create", "turn/subscribe"):
            error = client.error(method)
            assert (error.kind, error.data["reason"]) == ("storage", "schemaTooNew")
        for health in client.server_health(), client.told("server/healthChanged"):
            assert (health.status, health.stores[0].status) == ("down", "down")
            assert str(NEWER) in (health.stores[0].last_error or "")
    assert stored.read_bytes() == before


@pytest.mark.parametrize("write", [True, False])
def test_an_open_window_leaves_a_file_for_newer_readers_alone(workspace: Path, stored: Path, write: bool) -> None:
    """At once where it would write; what it would read it could misunderstand, so it notices that by itself."""
    with connected(workspace) as client:
        client.session_list()
        migrate_as_a_newer_program(stored, NEWER, NEWER)
        if write:
            refused = client.error("session/create")
            assert (refused.kind, refused.data["reason"]) == ("storage", "schemaTooNew")
        told = client.told("server/healthChanged").stores[0]
        assert (told.status, str(NEWER) in (told.last_error or "")) == ("down", True)
        client.let_be("server/healthChanged")
        client.server_health()
        deadline = time.monotonic() + TIMEOUT
        while (error := client.submit("session/list").exception()) is None:
            assert time.monotonic() < deadline
        assert isinstance(error, RequestFailed)
        assert error.data["reason"] == "schemaTooNew"
    with closing(sqlite3.connect(stored)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)
