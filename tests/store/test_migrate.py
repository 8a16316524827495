"""Migrations: what is refused, what is recorded, and what stays as it was when one fails."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.sql.columns import TABLES
from mandrake_sessions.store.sqlite import migrate
from mandrake_sessions.store.sqlite.migrate import (
    Migration,
    known_migrations,
    latest_version,
    read_migrations,
    statements,
)

HEADER = "-- minWriter: {}\n-- minReader: {}\n"
OWN = len(known_migrations())


def sql(database: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def open_once(database: Path) -> None:
    with SessionManager(database):
        pass


AddMigration = Callable[..., int]


@pytest.fixture
def next_migration(monkeypatch: pytest.MonkeyPatch) -> AddMigration:
    """A function that adds a migration to those that the program knows, and gives its version."""

    def add(text: str, min_writer: int = 1, min_reader: int = 1) -> int:
        known = known_migrations()
        version = len(known) + 1
        added = Migration(
            version, f"{version:04}_next.sql", HEADER.format(min_writer, min_reader) + text, min_writer, min_reader
        )
        monkeypatch.setattr(migrate, "known_migrations", lambda: (*known, added))
        return version

    return add


def test_a_new_file_has_a_ledger_that_says_what_was_applied(database: Path) -> None:
    open_once(database)
    for migration, row in zip(known_migrations(), sql(database, "SELECT * FROM migration"), strict=True):
        assert row[:3] == (migration.version, migration.name, migration.sha256)
    assert sql(database, "PRAGMA user_version") == [(len(known_migrations()),)]
    assert sql(database, "PRAGMA application_id") == [(migrate.APPLICATION_ID,)]
    assert sql(database, "PRAGMA journal_mode") == [("wal",)]
    assert sql(database, "PRAGMA auto_vacuum") == [(2,)]


def test_the_checksum_does_not_depend_on_line_ends(tmp_path: Path) -> None:
    text = HEADER.format(1, 1) + "CREATE TABLE a (b) STRICT;\n"
    (tmp_path / "0001_a.sql").write_bytes(text.encode())
    unix = read_migrations(tmp_path)[0].sha256
    (tmp_path / "0001_a.sql").write_bytes(text.replace("\n", "\r\n").encode())
    assert read_migrations(tmp_path)[0].sha256 == unix


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN;",
        "COMMIT;",
        "end transaction;",
        "/* so */ ROLLBACK;",
        "-- x\nSAVEPOINT a;",
        "VACUUM;",
        "PRAGMA user_version=9;",
    ],
)
def test_statements_that_would_leave_the_transaction_are_refused(statement: str) -> None:
    with pytest.raises(ValueError, match="may not use"):
        list(statements(f"CREATE TABLE a (b);\n{statement}\n"))


def test_a_statement_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no end"):
        list(statements("CREATE TABLE a (b);\nCREATE TABLE b (c)"))


def test_statements_keep_what_only_looks_like_an_end() -> None:
    text = "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; END;\nINSERT INTO a VALUES (';');\n"
    assert [statement.strip() for statement in statements(text)] == text.strip().split("\n")


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"0001_a.sql": "-- minWriter: 1\n"}, "minReader"),
        ({"0002_a.sql": HEADER.format(1, 1)}, "must count"),
        ({"one.sql": HEADER.format(1, 1)}, "is named"),
    ],
)
def test_files_that_are_no_migrations_are_refused(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=complaint):
        read_migrations(tmp_path)


def test_data_is_backed_up_before_it_is_migrated(database: Path, next_migration: AddMigration) -> None:
    with SessionManager(database) as manager:
        session = manager.create_session(title="kept")
    next_migration("ALTER TABLE session ADD COLUMN colour TEXT;")
    with SessionManager(database) as manager:
        assert manager.get_session(session.id) == session
    (backup,) = database.parent.glob("*.backup")
    assert sql(backup, "SELECT title FROM session") == [("kept",)]
    assert sql(backup, "PRAGMA user_version") == [(OWN,)]
    assert backup.stat().st_mode & 0o777 == 0o600


def test_a_migration_that_fails_leaves_the_file_as_it_was(database: Path, next_migration: AddMigration) -> None:
    with SessionManager(database) as manager:
        manager.create_session(title="kept")
    next_migration("ALTER TABLE session ADD COLUMN colour TEXT;\nINSERT INTO nowhere VALUES (1);")
    with pytest.raises(StorageFailure, match="Failed to run migrations") as failed:
        open_once(database)
    assert failed.value.reason is StorageReason.MIGRATE
    assert sql(database, "PRAGMA user_version") == [(OWN,)]
    assert ("colour",) not in sql(database, "SELECT name FROM pragma_table_info('session')")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("DELETE FROM session;", "table session had 1 rows, and would have 0"),
        ("INSERT INTO text SELECT pk + 1, turn_pk, content, raw_response FROM text;", "table text had 1 rows"),
        ("DROP TABLE text;", "table text had 1 rows, and would have none: it is gone"),
        ("ALTER TABLE text RENAME TO texts;", "table text had 1 rows, and would have none: it is gone"),
    ],
)
def test_a_migration_that_loses_or_adds_rows_is_rolled_back(
    database: Path, next_migration: AddMigration, text: str, complaint: str
) -> None:
    with SessionManager(database) as manager:
        session = manager.create_session(title="kept")
        response = manager.create_round(session.id, content="?").response.id
        turn = manager.create_turn(response, content="kept too")
    next_migration(text)
    with pytest.raises(StorageFailure, match=complaint) as failed:
        open_once(database)
    assert failed.value.reason is StorageReason.MIGRATE
    assert sql(database, "PRAGMA user_version") == [(OWN,)]
    assert sql(database, "SELECT title FROM session") == [("kept",)]
    assert sql(database, "SELECT content FROM text") == [(turn.content,)]


def test_a_migration_that_breaks_a_reference_is_rolled_back(database: Path, next_migration: AddMigration) -> None:
    open_once(database)
    next_migration("INSERT INTO text (pk, turn_pk) VALUES (1, 99);")
    # foreign_keys is on, so SQLite or the check before COMMIT refuses it; either way nothing is left.
    with pytest.raises(StorageFailure, match="Failed to run migrations"):
        open_once(database)
    assert sql(database, "SELECT count(*) FROM text") == [(0,)]


@pytest.mark.parametrize(
    ("min_writer", "min_reader", "reads", "writes"),
    [(OWN, 1, True, True), (OWN + 1, 1, True, False), (OWN + 1, OWN + 1, False, False)],
)
def test_an_older_program_may_do_what_a_newer_schema_allows(
    database: Path,
    next_migration: AddMigration,
    monkeypatch: pytest.MonkeyPatch,
    min_writer: int,
    min_reader: int,
    reads: bool,
    writes: bool,
) -> None:
    with SessionManager(database) as manager:
        manager.create_session(title="kept")
    next_migration("ALTER TABLE session ADD COLUMN colour TEXT;", min_writer, min_reader)
    open_once(database)
    monkeypatch.undo()
    old = SessionManager(database)
    if not reads:
        with pytest.raises(StorageFailure, match=f"schema {OWN + 1}, this program knows {OWN}") as refused:
            old.init()
        assert refused.value.reason is StorageReason.SCHEMA_TOO_NEW
        return
    with old:
        assert [session.title for session in old.list_sessions().sessions] == ["kept"]
        if writes:
            old.create_session()
        else:
            with pytest.raises(StorageFailure, match=f"schema {OWN + 1}, this program knows {OWN}"):
                old.create_session()


def test_an_open_window_of_an_old_program_stops_writing_after_a_migration_that_cuts_it_off(database: Path) -> None:
    with SessionManager(database) as old:
        old.create_session(title="kept")
        sql(database, f"INSERT INTO migration SELECT {OWN + 1}, 'next.sql', '', {OWN + 1}, 1, 0, '9.0'")
        sql(database, f"PRAGMA user_version={OWN + 1}")
        with pytest.raises(StorageFailure) as refused:
            old.create_session()
        assert refused.value.reason is StorageReason.SCHEMA_TOO_NEW
        assert len(old.list_sessions().sessions) == 1


@pytest.mark.parametrize("content", [b"CREATE", b"not a database, but long enough to be looked at" * 100])
def test_what_is_no_database_is_named_and_not_written_to(database: Path, content: bytes) -> None:
    database.parent.mkdir()
    database.write_bytes(content)
    with pytest.raises(StorageFailure) as refused:
        open_once(database)
    assert refused.value.reason is StorageReason.CORRUPT
    assert database.read_bytes() == content


def test_another_programs_database_is_refused_and_not_written_to(database: Path) -> None:
    database.parent.mkdir()
    sql(database, "CREATE TABLE sessions (id TEXT)")
    before = database.read_bytes()
    with pytest.raises(StorageFailure, match="is the database of another program") as refused:
        open_once(database)
    assert refused.value.reason is StorageReason.FOREIGN_DATABASE
    assert database.read_bytes() == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


def test_a_changed_migration_is_a_warning_in_use(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_once(database)
    sql(database, "UPDATE migration SET sha256 = 'x'")
    with SessionManager(database):
        assert "changed after it had been applied" in caplog.text


RELEASED = {
    "0001_initial.sql": "f9c43bb920ffce746bd92945de52775b029eae3b085bfbb7fb5059b60179beaf",
    "0002_file_identity.sql": "617846603939a125d95dacb84279fe3bd8962490ea9c2d4f038cdda7efd4bb5f",
    "0003_tool_calls_in_the_feed.sql": "507dadc13a6ae9f52a9badad8a361bcb345f629fddd8550b9848e496efc424cf",
    "0004_states_and_agents.sql": "94fa60dab2441c4fc6f848e2bde70ad51582e0c84dbda11e716072aa618fa55a",
}


def test_the_migrations_that_were_released_are_as_they_were() -> None:
    """A file that was applied somewhere may never change: add another one."""
    now = {migration.name: migration.sha256 for migration in known_migrations()}
    assert {name: sha256 for name, sha256 in now.items() if name in RELEASED} == RELEASED


def test_data_that_is_no_json_does_not_hinder_a_migration(tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite"
    shutil.copy(Path(__file__).parent / "fixtures" / "schema-2.sqlite", database)
    sql(database, "UPDATE feed SET data = '{' WHERE kind = 'updated'")
    with SessionManager(database) as manager:
        (session,) = manager.list_sessions().sessions
        assert len(manager.history(session.id).rounds[0].response.turns) == 2
        assert manager.store.state().schema_version == latest_version()


def test_every_declared_column_is_in_the_schema(database: Path) -> None:
    with SessionManager(database), closing(sqlite3.connect(database)) as connection:
        for table, declared in TABLES.items():
            present = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            assert set(declared) <= present, table
