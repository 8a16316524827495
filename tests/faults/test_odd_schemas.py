"""Whether a statement that fails is told as what it is: something odd in the file, or a fault of the program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from broken import FAULTY, break_program, break_table
from commands.running import run
from mandrake_sessions.client import RequestFailed
from strict import Talk, connected
from wire import TIMEOUT, store_of


def change(workspace: Path, *statements: str) -> None:
    with closing(sqlite3.connect(store_of(workspace))) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def test_a_trigger_of_others_is_named_and_taken_away(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_create(title="before")
        change(
            workspace,
            "CREATE TRIGGER strange BEFORE INSERT ON session BEGIN SELECT raise(ABORT, 'no more sessions'); END",
        )
        error = client.error("session/create", title="refused")
        assert (error.kind, error.data["reason"]) == ("storage", "corrupt"), error
        assert "trigger strange" in error.message
        assert client.session_list().sessions
        seen = run(workspace, "doctor", code=None)
        assert seen.code == 1
        assert "trigger strange" in seen.out
        run(workspace, "doctor", "--fix", code=None)
        assert run(workspace, "doctor", code=None).code == 0
        assert client.session_create(title="after").title == "after"
        client.let_be("server/healthChanged")


def test_a_trigger_that_fails_nothing_is_told_of_at_opening(workspace: Path) -> None:
    """What it takes away was acknowledged; nobody else would tell."""
    with connected(workspace) as client:
        client.session_create(title="before")
    change(workspace, "CREATE TRIGGER thief AFTER INSERT ON feed BEGIN DELETE FROM feed WHERE seq = new.seq; END")
    with connected(workspace) as client:
        client.session_list()
        (told,) = client.told("server/healthChanged").stores
        assert told.status == "degraded"
        assert any("trigger thief" in warning for warning in told.warnings), told
        client.wait_for_log("trigger thief, of another program")
        run(workspace, "doctor", "--fix", code=None)
        while client.told("server/healthChanged").status != "ok":
            pass
    assert client.log.count("trigger thief") == 1


def test_a_missing_index_is_made_again_and_a_strange_unique_one_goes(workspace: Path) -> None:
    with connected(workspace) as client:
        client.session_create(title="one")
    with closing(sqlite3.connect(store_of(workspace))) as database:
        names = database.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    lost = names[0][0]
    change(workspace, f"DROP INDEX {lost}", "CREATE UNIQUE INDEX strange ON session (title)")
    seen = run(workspace, "doctor", code=None)
    assert seen.code == 1
    assert lost in seen.out
    assert "index strange" in seen.out
    run(workspace, "doctor", "--fix", code=None)
    assert run(workspace, "doctor", code=None).code == 0


@pytest.mark.parametrize("table", ["session", "round", "turn"])
def test_a_view_in_the_place_of_a_table_is_corrupt(workspace: Path, table: str) -> None:
    with connected(workspace) as client:
        session = Talk(client).session
        break_table(workspace, table)
        for method, params in (
            ("session/list", {}),
            ("session/create", {}),
            ("session/history", {"sessionId": session}),
            ("session/delete", {"sessionId": session}),
        ):
            error = client.submit(method, params).exception(TIMEOUT)
            assert error is None or (isinstance(error, RequestFailed) and error.kind == "storage"), error
        client.let_be("server/healthChanged")
    assert f"a view has the name of the table {table}" in run(workspace, "doctor", code=None).out
    assert f"a view has the name of the table {table}" in run(workspace, "doctor", "--fix", code=None).out


def test_a_wrong_statement_of_our_own_stays_an_internal_error(workspace: Path) -> None:
    with connected(workspace, command=FAULTY) as client:
        client.session_create()
        break_program(workspace, "session")
        assert client.error("session/list").kind == "internal"
        client.wait_for_log("nobody_knows_this")


def test_a_lease_that_is_none_is_cleared_and_its_turn_interrupted(workspace: Path) -> None:
    with connected(workspace) as client:
        turn = Talk(client).turn()
        for piece in ("a", "b", "c"):
            client.turn_append(turn_id=turn, content=piece)
        client.kill()
    change(workspace, "UPDATE turn SET lease = '../../elsewhere'")
    run(workspace, "doctor", "--fix", code=None)
    assert run(workspace, "doctor", code=None).code == 0
    with connected(workspace) as client:
        read = client.turn_get(turn_id=turn)
        assert (read.status, read.content, read.chunk_count) == ("interrupted", "abc", 3)
