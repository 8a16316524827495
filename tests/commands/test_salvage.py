"""``backup --salvage``: what can be read of a damaged store, as a file that can be mended and restored."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from commands.running import fill, foreign, is_whole, mode, noise, run, sql, state, store_of, titles
from figures import record
from mandrake_sessions import SessionManager
from wire import OLDEST_SCHEMA

SESSIONS = [f"session {n}" for n in range(40)]


def salvaged(workspace: Path) -> Path:
    """The copy, mended; the way that the program itself shows."""
    told = run(workspace, "backup", "--salvage", "copy.sqlite", code=None)
    copy = workspace / "copy.sqlite"
    assert (told.code, told.err) in ((0, ""), (1, ""))
    if "Mend it before you restore it" in told.out:
        assert told.out.endswith(f"mandrake-sessions doctor --fix --database {copy}\n")
        run(workspace, "doctor", "--fix", "--database", copy)
    return copy


def test_of_a_whole_store_nothing_is_lost(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, *SESSIONS)
    before = state(database.parent)
    told = run(workspace, "backup", "--salvage", "copy.sqlite").out
    assert "lost" not in told
    assert state(database.parent) == before
    copy = workspace / "copy.sqlite"
    assert mode(copy) == 0o600
    assert is_whole(copy)
    for table in ("session", "round", "request", "response", "turn", "text", "feed", "migration"):
        assert sql(copy, f"SELECT * FROM {table}") == sql(database, f"SELECT * FROM {table}")  # noqa: S608
    run(workspace, "doctor", "--database", copy)
    run(workspace, "restore", copy)
    assert titles(database) == sorted(SESSIONS)


def test_a_store_of_an_old_schema_keeps_it(workspace: Path) -> None:
    run(workspace, "backup", "--salvage", "--database", OLDEST_SCHEMA, "copy.sqlite")
    run(workspace, "restore", "copy.sqlite")
    assert titles(store_of(workspace)) == ["A talk"]


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_sound_pages_survive_damaged_ones(workspace: Path, seed: int) -> None:
    database = store_of(workspace)
    fill(database, *SESSIONS, text=5_000)
    run(workspace, "backup", "whole.sqlite")
    chance = random.Random(seed)
    for page in chance.sample(range(45, database.stat().st_size // 4096), 6):
        noise(database, page * 4096, 300)
    assert "backup --salvage" in run(workspace, "doctor", code=1).out
    before = database.read_bytes()
    copy = salvaged(workspace)
    assert database.read_bytes() == before
    assert run(workspace, "doctor", "--database", copy).code == 0
    run(workspace, "restore", copy)
    # A turn whose session is lost has a new one.
    assert set(titles(database)) <= {*SESSIONS, "recovered"}
    with SessionManager(database) as manager:
        turns = [manager.get_turn(turn) for (turn,) in sql(database, "SELECT id FROM turn")]
        manager.create_session(title="it works")
    whole = sum(turn.content == "x" * 5_000 for turn in turns)
    assert whole >= len(SESSIONS) // 2
    record("salvaged after damage", stores=1, turns=whole)


@pytest.mark.parametrize("harm", ["noise", "foreign", "missing"])
def test_where_nothing_can_be_read_nothing_is_left(workspace: Path, harm: str) -> None:
    database = store_of(workspace)
    if harm == "noise":
        database.parent.mkdir()
        database.write_bytes(bytes(range(256)) * 40)
    elif harm == "foreign":
        foreign(database)
    told = run(workspace, "backup", "--salvage", "copy.sqlite", code=1).err
    expected = {
        "noise": f"nothing of {database} can be read (file is not a database); mandrake-sessions restore --database",
        "foreign": "is no store of this program",
        "missing": "there is no store at",
    }[harm]
    assert expected in told
    assert "--salvage" not in told
    assert not (workspace / "copy.sqlite").exists()
