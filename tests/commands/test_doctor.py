"""``doctor``: every kind of fault is found, said, and put right where that is safe; nothing else is touched."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commands.running import (
    Writer,
    fill,
    foreign,
    is_whole,
    mode,
    names,
    noise,
    run,
    sql,
    state,
    store_of,
    titles,
    writing,
)
from mandrake_sessions import SessionManager
from mandrake_sessions.store.sqlite.facts import WAL_ADVICE
from strict import connected
from wire import OLDEST_SCHEMA

CHECKS = [
    "program", "file", "schema", "integrity", "contents", "references", "rows", "counters", "migrations", "turns",
    "forks", "free pages", "search", "wal", "leases", "permissions", "git", "disk", "leftovers", "rescued", "register",
]  # fmt: skip


def findings(workspace: Path, *flags: str, code: int | None = 0) -> dict[str, dict[str, Any]]:
    """By check, all but the program's: that depends on the machine."""
    report = json.loads(run(workspace, "doctor", "--json", *flags, code=code).out)
    assert report["database"] == str(store_of(workspace))
    return {found["check"]: found for found in report["findings"] if found["check"] != "program"}


def wrong(workspace: Path, *flags: str, code: int | None = 0) -> dict[str, str]:
    """What is not ok, with its level."""
    found = findings(workspace, *flags, code=code).values()
    return {finding["check"]: finding["level"] for finding in found if finding["level"] != "ok"}


def test_a_store_in_order(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    before = state(store_of(workspace).parent)
    report = run(workspace, "doctor").out
    lines = report.partition("\n\n")[0].splitlines()
    assert [line[9:22].strip() for line in lines] == CHECKS
    assert {line.split()[0] for line in lines[1:]} == {"ok"}
    assert state(store_of(workspace).parent) == before


def test_beside_a_running_server_nothing_is_wrong_and_nothing_stops(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    with writing(store_of(workspace)) as writer:
        for flags in ((), ("--fix",)):
            assert wrong(workspace, *flags) == {}
            writer.stored()


def others_may_read(database: Path) -> None:
    database.chmod(0o644)


def others_may_look(database: Path) -> None:
    database.parent.chmod(0o755)


def no_gitignore(database: Path) -> None:
    (database.parent / ".gitignore").unlink()


def dead_lease(database: Path) -> None:
    lock = Path(f"{database}-run") / f"{uuid.uuid4()}.lock"
    lock.parent.mkdir()
    lock.touch()
    os.utime(lock, (0, 0))


def orphaned_turn(database: Path) -> None:
    writer = Writer(database)
    writer.kill()
    for lock in Path(f"{database}-run").iterdir():
        lock.unlink()
    # What a killed writer leaves beside its turn is not the subject here.
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def stray_change(database: Path) -> None:
    sql(database, "INSERT INTO feed (seq, at, kind, turn_pk) VALUES (0, 0, 'updated', 9999)")


def stray_rows(database: Path) -> None:
    sql(database, "INSERT INTO text (pk, turn_pk, content) VALUES (9999, 8888, 'of nothing')")
    sql(database, "INSERT INTO tool_call SELECT 1, 7777, 'a', '', '', '', '', '', 1, 1, '', '', '', '', ''")


def wrong_count(database: Path) -> None:
    sql(database, "UPDATE session SET round_count = 5")


def low_counter(database: Path) -> None:
    sql(database, "UPDATE session SET next_round_index = 0", "UPDATE response SET next_turn_index = 0")


def index_without_rows(database: Path) -> None:
    """An index that lacks what its table has, as a bad write leaves it."""
    (definition,) = sql(database, "SELECT sql FROM sqlite_schema WHERE name = 'turn_by_session'")[0]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        changed = f"{definition} WHERE pk < 0"
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'turn_by_session'", (changed,))
    sql(database, "REINDEX turn_by_session")
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'turn_by_session'", (definition,))


def free_pages(database: Path) -> None:
    (big,) = fill(database, "big", text=3_000_000)
    with SessionManager(database) as manager:
        manager.delete_session(big)


def killed_backup(database: Path) -> None:
    (database.parent / "db.0123456789ab.partial").write_text("half")
    (database.parent / "db.0123456789ab.partial-journal").write_text("half")


def killed_restore(database: Path) -> None:
    Path(f"{database}.replaced-1.backup").hardlink_to(database)


def old_schema(database: Path) -> None:
    shutil.copy(OLDEST_SCHEMA, database)
    database.chmod(0o600)


Damage = Callable[[Path], None]
FAULTS: list[tuple[Damage, str, str, bool]] = [
    # what was done, which check finds it, how bad that is, whether --fix writes to the database
    (others_may_read, "permissions", "problem", False),
    (others_may_look, "permissions", "warning", False),
    (no_gitignore, "git", "warning", False),
    (dead_lease, "leases", "warning", False),
    (killed_backup, "leftovers", "warning", False),
    (killed_restore, "leftovers", "warning", False),
    (orphaned_turn, "turns", "warning", True),
    (stray_change, "rows", "problem", True),
    (stray_rows, "references", "problem", True),
    (wrong_count, "counters", "problem", True),
    (low_counter, "counters", "problem", True),
    (index_without_rows, "integrity", "problem", True),
    (free_pages, "free pages", "warning", True),
]


@pytest.mark.parametrize(("damage", "check", "level", "writes"), FAULTS, ids=[fault[0].__name__ for fault in FAULTS])
def test_a_fault_is_found_and_put_right(workspace: Path, damage: Damage, check: str, level: str, writes: bool) -> None:
    database = store_of(workspace)
    fill(database, "one")
    damage(database)
    before = state(database.parent)
    code = 1 if level == "problem" else 0
    # One fault may break several rules.
    assert wrong(workspace, code=code)[check] == level
    assert state(database.parent) == before
    assert wrong(workspace, "--fix") == {}
    assert wrong(workspace) == {}
    assert is_whole(database)
    assert "one" in titles(database)
    copies = list(database.parent.glob("db.sqlite.before-fix-*.backup"))
    assert len(copies) == writes
    assert all(mode(copy) == 0o600 for copy in copies)
    assert not list(database.parent.glob("*.partial*"))


@pytest.mark.parametrize("damage", [wrong_count, low_counter])
def test_one_fault_is_one_problem_and_one_repair(workspace: Path, damage: Damage) -> None:
    fill(store_of(workspace), "one")
    damage(store_of(workspace))
    assert "\n1 problem, " in run(workspace, "doctor", code=1).out
    done = [line for line in run(workspace, "doctor", "--fix").out.splitlines() if line.startswith("fixed: ")]
    assert len(done) == 3, "a copy, the repair, and the search index, which no server has filled"
    assert "fixed: copied the store as it was to " in done[0]


def test_a_wal_that_is_long_is_emptied(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "one")
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM session").fetchone()
        for title in ("big", "bigger", "biggest"):
            fill(database, title, raw=60_000_000)
        assert wrong(workspace) == {"wal": "warning"}
        report = run(workspace, "doctor", "--fix").out
        assert f"not fixed: the -wal cannot be emptied while a program reads from it; {WAL_ADVICE}\n" in report
        assert f"\n- {WAL_ADVICE}\n" in report
        assert any(warning.endswith(WAL_ADVICE) for warning in warnings_of(workspace))
        reader.execute("ROLLBACK")
        assert wrong(workspace, "--fix") == {}
    assert titles(database) == ["big", "bigger", "biggest", "one"]


def test_a_copy_of_a_lost_wal_is_named_as_in_the_health(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "one")
    kept = database.with_name(f"{database.name}.rescued-20260101-000000.backup")
    shutil.copy(database, kept)
    kept.chmod(0o644)
    named = findings(workspace, code=1)
    assert (named["rescued"]["level"], named["permissions"]["level"]) == ("warning", "problem")
    assert str(kept) in named["rescued"]["text"]
    assert str(kept) in named["permissions"]["text"]
    warnings = warnings_of(workspace)
    assert f"{named['rescued']['text']}; {named['rescued']['advice']}" in warnings
    assert f"other users may use {kept} (mode 644); chmod go= it" in warnings
    assert wrong(workspace, "--fix") == {"rescued": "warning"}


def warnings_of(workspace: Path) -> list[str]:
    """What the health of a server says of the store."""
    with connected(workspace) as client:
        client.session_list()
        (store,) = client.server_health().stores
        return list(store.warnings)


def test_a_count_that_was_put_right_is_told_to_subscribers(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    with connected(workspace) as client:
        changes = client.followed("session/subscribe")
        wrong_count(store_of(workspace))
        assert wrong(workspace, "--fix") == {}
        update = next(changes)
        assert (update.kind, update.session.round_count) == ("updated", 1)


def test_an_old_schema_is_no_problem(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, "one")
    old_schema(database)
    before = state(database.parent)
    assert wrong(workspace)["schema"] == "warning"
    assert state(database.parent) == before


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_found_and_a_damaged_file_is_never_written_to(workspace: Path, seed: int) -> None:
    """At the beginning of random pages, where SQLite says what a page holds."""
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(20)), text=10_000)
    chance = random.Random(seed)
    pages = chance.sample(range(1, database.stat().st_size // 4096), 10)
    for page in [0, *pages] if seed % 2 else pages:
        noise(database, page * 4096, 300)
    before = state(database.parent)
    report = run(workspace, "doctor", code=1).out
    assert "problem " in report
    assert state(database.parent) == before
    fixed = run(workspace, "doctor", "--fix", code=1).out
    assert "the tables are damaged" in fixed
    assert "backup --salvage --database" in fixed
    assert "mandrake-sessions restore" in fixed
    assert database.read_bytes() == before["db.sqlite"]


def missing(database: Path) -> None:
    database.parent.mkdir()


@pytest.mark.parametrize(("make", "complaint"), [(missing, "there is no store"), (foreign, "is no store of this")])
def test_what_cannot_be_checked(workspace: Path, make: Damage, complaint: str) -> None:
    make(store_of(workspace))
    before = names(store_of(workspace).parent)
    for flags in ((), ("--fix",)):
        assert complaint in run(workspace, "doctor", *flags, code=2).err
    assert names(store_of(workspace).parent) == before


def test_an_exclusive_lock_is_waited_for_and_told(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    with closing(sqlite3.connect(store_of(workspace), isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        told = run(workspace, "doctor", code=2, MANDRAKE_SESSIONS_BUSY_TIMEOUT="0.2").err
    assert "was locked" in told


def test_a_file_that_may_only_be_read(workspace: Path) -> None:
    """For root too, who could write it, but is not its owner's only user."""
    database = store_of(workspace)
    fill(database, "one")
    database.chmod(0o400)
    database.parent.chmod(0o500)
    assert wrong(workspace) == {"permissions": "warning"}
    assert f"the mode of {database} (400) keeps its owner from writing" in run(workspace, "doctor").out
    database.parent.chmod(0o700)


@pytest.mark.parametrize("content", [b"", b"a note\n", bytes(range(256)) * 40], ids=["empty", "text", "noise"])
def test_a_file_that_is_no_store_keeps_its_mode(workspace: Path, content: bytes) -> None:
    """Whoever mistypes a path has no other file changed."""
    other = workspace / "other"
    other.write_bytes(content)
    other.chmod(0o755)
    for _ in range(2):
        done = run(workspace, "doctor", "--fix", "--database", str(other), code=None)
        assert "permissions" not in done.out
        assert (other.read_bytes(), mode(other)) == (content, 0o755)
    assert [name for name in names(workspace) if name.startswith("other")] == ["other"]


def test_advice_names_the_store_that_was_looked_at(workspace: Path) -> None:
    """A command without it would be about another one."""
    fill(store_of(workspace), "healthy")
    other = workspace / "an other.sqlite"
    other.write_bytes(store_of(workspace).read_bytes()[:4096] + bytes(range(256)) * 400)
    advice = run(workspace, "doctor", "--database", str(other), code=1).out.rpartition("\n\n")[2]
    assert f"mandrake-sessions restore --database '{other}' BACKUP" in advice
    shutil.copy(store_of(workspace), other)
    sql(other, "UPDATE session SET metadata = '{'")
    advice = run(workspace, "doctor", "--database", str(other), code=1).out.rpartition("\n\n")[2]
    assert f"mandrake-sessions doctor --fix --database '{other}'" in advice


def test_a_damaged_file_is_described_in_the_words_of_the_command_line(workspace: Path) -> None:
    store_of(workspace).parent.mkdir()
    store_of(workspace).write_bytes(bytes(range(256)) * 40)
    for arguments in ["doctor"], ["doctor", "--json"], ["doctor", "--fix"]:
        out = run(workspace, *arguments, code=1).out
        assert out.count("mandrake-sessions restore --database") == 1
        assert "maintenance." not in out


def test_each_check_has_its_row_beside_a_problem_of_another(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    rows = {line.split()[1] for line in run(workspace, "doctor").out.splitlines() if line.startswith("ok ")}
    sql(store_of(workspace), "UPDATE session SET round_count = 7")
    found = run(workspace, "doctor", code=1).out.splitlines()
    assert "problem  counters     sessions with a wrong count of rounds: 1" in found
    assert {line.split()[1] for line in found if line.startswith("ok ")} == rows - {"counters"}


@pytest.mark.parametrize("kind", ["damaged", "foreign", "directory", "open to others"])
def test_a_register_that_cannot_be_used_is_named_and_let_be(workspace: Path, kind: str) -> None:
    with connected(workspace) as client:
        client.session_create()
    register = workspace / "home" / ".mandrake" / "stores.sqlite"
    assert "register     it lists 1 store" in run(workspace, "doctor").out
    if kind == "open to others":
        register.chmod(0o644)
    else:
        register.unlink()
    if kind == "damaged":
        register.write_text("no database" * 1000)
    elif kind == "foreign":
        with closing(sqlite3.connect(register)) as connection:
            connection.execute("CREATE TABLE other (a)")
    elif kind == "directory":
        register.mkdir()
    done = run(workspace, "doctor", "--fix")
    assert "warning  register" in done.out
    assert str(register) in done.out
    assert register.exists()
    if kind == "damaged":
        with connected(workspace) as client:
            client.session_list()
        assert "it lists 1 store" in run(workspace, "doctor").out


@pytest.mark.parametrize(
    "command", [["doctor"], ["migrate"], ["backup", "copy"], ["backup", "copy", "--salvage"], ["export", "a"]]
)
def test_a_file_that_is_no_database_is_not_to_be_restored(workspace: Path, command: list[str]) -> None:
    note = workspace / "note.txt"
    note.write_text("a note\n" * 1000)
    told = run(workspace, *command, "--database", note, code=1)
    assert "move it away, or name another file with --database" in told.out + told.err
    assert "restore" not in told.out + told.err
    assert "damaged" not in told.out + told.err
    assert [path.name for path in workspace.iterdir() if path.is_file()] == ["note.txt"]
