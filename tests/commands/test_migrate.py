"""``migrate``: to the schema of the program, and what ``--check`` says to scripts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from commands.running import fill, foreign, noise, run, sql, state, store_of, titles
from mandrake_sessions.store.sqlite.migrate import known_migrations
from wire import OLDEST_SCHEMA

LATEST = len(known_migrations())


def test_an_old_file_is_named_then_migrated_then_current(workspace: Path) -> None:
    database = store_of(workspace)
    database.parent.mkdir()
    shutil.copy(OLDEST_SCHEMA, database)
    before = state(database.parent)
    pending = run(workspace, "migrate", "--check", code=1).out
    assert f"schema 1, {LATEST - 1} migration" in pending
    assert all(migration.name in pending for migration in known_migrations()[1:])
    assert state(database.parent) == before
    assert f"schema 1 → {LATEST}" in run(workspace, "migrate").out
    assert f"schema {LATEST} is current" in run(workspace, "migrate", "--check").out
    assert f"schema {LATEST} is current" in run(workspace, "migrate").out
    assert titles(database) == ["A talk"]
    (backup,) = database.parent.glob("*.backup")
    assert sql(backup, "PRAGMA user_version") == [(1,)]
    assert not list(database.parent.glob("*.partial*"))


def newer(database: Path) -> None:
    fill(database, "one")
    version = LATEST + 1
    sql(
        database,
        f"INSERT INTO migration SELECT {version}, 'next.sql', '', {version}, {version}, 0, '9.0'",
        f"PRAGMA user_version={version}",
    )


def damaged(database: Path) -> None:
    fill(database, "one")
    noise(database, 0, 4096)


def missing(database: Path) -> None:
    database.parent.mkdir()


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (newer, "update mandrake-sessions"),
        (foreign, "is no store of this program"),
        (damaged, "no database at all"),
        (missing, "there is no store at"),
    ],
)
def test_a_store_that_cannot_be_checked(workspace: Path, prepare: Callable[[Path], None], complaint: str) -> None:
    database = store_of(workspace)
    prepare(database)
    before = state(database.parent)
    assert complaint in run(workspace, "migrate", "--check", code=2).err
    assert complaint in run(workspace, "migrate", code=1).err
    assert state(database.parent) == before
