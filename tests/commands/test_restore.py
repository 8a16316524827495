"""``restore``: the backup is the store or nothing has changed, whoever has the store open and however it ends."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from commands.running import (
    end,
    fill,
    foreign,
    is_whole,
    mode,
    names,
    noise,
    run,
    sql,
    start,
    state,
    store_id,
    store_of,
    titles,
)
from figures import record
from mandrake_sessions import SessionManager
from mandrake_sessions.store.sqlite.migrate import known_migrations
from strict import connected
from wire import OLDEST_SCHEMA


@pytest.fixture
def backup(workspace: Path) -> Path:
    """A backup of a store that goes on: it holds `old` where the store holds `new` too."""
    fill(store_of(workspace), "old")
    run(workspace, "backup", "backup.sqlite")
    fill(store_of(workspace), "new")
    return workspace / "backup.sqlite"


def previous(database: Path) -> Path:
    (kept,) = database.parent.glob("db.sqlite.replaced-*.backup")
    return kept


@pytest.mark.parametrize("flags", [[], ["--database"]])
def test_it_says_how_to_go_back(workspace: Path, backup: Path, flags: list[str]) -> None:
    database = store_of(workspace)
    store = [*flags, str(database)] if flags else []
    told = run(workspace, "restore", backup, *store).out
    assert f"the previous file, with 2 sessions: {previous(database)}\n" in told
    assert names(database.parent) == [".gitignore", "db.sqlite", previous(database).name]
    (back,) = re.findall(r"^to go back: `mandrake-sessions (.*)`$", told, re.MULTILINE)
    assert ("--database" in back) == bool(flags)
    assert titles(database) == ["old"]
    run(workspace, *shlex.split(back))
    assert titles(database) == ["new", "old"]


def test_a_previous_file_that_is_no_store_any_more_is_said(workspace: Path, backup: Path) -> None:
    store_of(workspace).write_bytes(bytes(range(256)) * 40)
    told = run(workspace, "restore", backup).out
    assert "the previous file, which cannot be read as a store: " in told
    assert "to go back" not in told


def test_the_backup_is_the_store_and_what_was_there_is_kept(workspace: Path, backup: Path) -> None:
    database = store_of(workspace)
    was, source = store_id(database), backup.read_bytes()
    told = run(workspace, "restore", "backup.sqlite").out
    kept = previous(database)
    assert names(database.parent) == [".gitignore", "db.sqlite", kept.name]
    assert (mode(database), mode(kept)) == (0o600, 0o600)
    now = store_id(database)
    assert now != was
    assert f"its storeId is {now}" in told
    assert str(kept) in told
    assert titles(database) == ["old"]
    assert sql(database, "PRAGMA journal_mode") == [("wal",)]
    assert backup.read_bytes() == source
    assert titles(kept) == ["new", "old"]


def test_where_there_was_no_store_its_directory_is_made_as_ever(workspace: Path, backup: Path) -> None:
    other = workspace / "other"
    other.mkdir()
    told = run(workspace, "restore", "--workspace", other, backup).out
    assert "before" not in told
    assert names(other / ".ws") == [".gitignore", "db.sqlite"]
    assert mode(other / ".ws") == 0o700
    assert titles(store_of(other)) == ["old"]


def test_a_backup_of_an_old_schema_is_migrated(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    run(workspace, "restore", OLDEST_SCHEMA)
    assert sql(store_of(workspace), "PRAGMA user_version") == [(len(known_migrations()),)]
    assert titles(store_of(workspace)) == ["A talk"]
    assert len(names(store_of(workspace).parent)) == 3


def empty(path: Path) -> None:
    path.touch()


def not_a_database(path: Path) -> None:
    path.write_text("a text, and no database at all. " * 1000)


def damaged(path: Path) -> None:
    fill(path, "one", text=100_000)
    for place in range(4096, path.stat().st_size, 4096):
        noise(path, place, 200)


def dangling(path: Path) -> None:
    fill(path, "one")
    sql(path, "DELETE FROM request")
    sql(path, "UPDATE turn SET session_pk = 99")


def newer(path: Path) -> None:
    fill(path, "one")
    version = len(known_migrations()) + 1
    sql(path, f"INSERT INTO migration SELECT {version}, 'n.sql', '', 1, 1, 0, '9.0'", f"PRAGMA user_version={version}")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (empty, "is no store of this program"),
        (not_a_database, "no database at all; name another backup"),
        (foreign, "is no store of this program"),
        (damaged, "damaged"),
        (dangling, "does not hold what it should"),
        (newer, "update mandrake-sessions"),
    ],
)
def test_a_damaged_backup_changes_nothing(workspace: Path, make: Callable[[Path], None], complaint: str) -> None:
    database = store_of(workspace)
    fill(database, "one")
    make(workspace / "source.sqlite")
    before = state(database.parent)
    done = run(workspace, "restore", "source.sqlite", code=1)
    assert complaint in done.err
    assert str(workspace / "source.sqlite") in done.err
    assert done.err.count("\n") == 1
    assert state(database.parent) == before


def test_a_source_that_is_not_a_file_is_rejected(workspace: Path) -> None:
    fill(store_of(workspace), "one")
    missing = f"SRC: there is no file {workspace / 'missing'}; name a backup"
    assert missing in run(workspace, "restore", "missing", code=2).err
    assert f"SRC: {workspace} is a directory; name a backup" in run(workspace, "restore", ".", code=2).err
    assert titles(store_of(workspace)) == ["one"]


def test_the_store_itself_is_no_backup(workspace: Path, backup: Path) -> None:
    assert "is the store itself" in run(workspace, "restore", ".ws/db.sqlite", code=2).err
    assert titles(store_of(workspace)) == ["new", "old"]


def test_another_programs_database_is_not_replaced(workspace: Path, backup: Path) -> None:
    other = workspace / "other"
    foreign(store_of(other))
    before = state(other / ".ws")
    assert "another program's" in run(workspace, "restore", "--workspace", other, backup, code=1).err
    assert state(other / ".ws") == before


@pytest.mark.parametrize("content", [b"a note\n", b"a text, and no database at all. " * 1000, bytes(range(256)) * 40])
def test_a_file_that_is_no_database_is_not_replaced(workspace: Path, backup: Path, content: bytes) -> None:
    other = workspace / "notes.txt"
    other.write_bytes(content)
    other.chmod(0o644)
    before = names(workspace)
    told = run(workspace, "restore", "--database", other, backup, code=2).err
    assert f"--database: {other} is neither a store nor another database, and was left as it is; name another" in told
    assert (other.read_bytes(), mode(other), names(workspace)) == (content, 0o644, before)


def test_another_thing_than_a_file_is_not_replaced(workspace: Path, backup: Path) -> None:
    os.mkfifo(workspace / "pipe")
    run(workspace, "restore", "--database", workspace / "pipe", backup, code=2)
    assert (workspace / "pipe").is_fifo()


@pytest.mark.parametrize("how", ["empty", "damaged", "a store"])
def test_a_named_store_an_empty_and_a_damaged_one_are_replaced_and_private(
    workspace: Path, backup: Path, how: str
) -> None:
    other = workspace / "other.sqlite"
    other.touch()
    if how != "empty":
        fill(other, "other", text=100_000)
    if how == "damaged":
        damaged(other)
    other.chmod(0o644)
    run(workspace, "restore", "--database", other, backup)
    assert titles(other) == ["old"]
    assert mode(other) == 0o600


def test_a_store_with_a_damaged_beginning_in_its_own_directory_is_replaced(workspace: Path, backup: Path) -> None:
    noise(store_of(workspace), 0, 4096)
    store_of(workspace).chmod(0o644)
    run(workspace, "restore", backup)
    assert titles(store_of(workspace)) == ["old"]
    assert mode(store_of(workspace)) == 0o600


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN"])
def test_a_store_that_others_hold_is_not_replaced(workspace: Path, backup: Path, statement: str) -> None:
    """A writer, or a reader that still needs the -wal."""
    database = store_of(workspace)
    before = store_id(database)
    with closing(sqlite3.connect(database, isolation_level=None)) as other, SessionManager(database) as manager:
        other.execute(statement)
        other.execute("SELECT count(*) FROM session").fetchone()
        if statement == "BEGIN":
            manager.create_session(title="newest")
        told = run(workspace, "restore", backup, code=1, MANDRAKE_SESSIONS_BUSY_TIMEOUT="0.3").err
        assert "was locked" in told
        other.execute("ROLLBACK")
    assert store_id(database) == before
    assert not list(database.parent.glob("*.partial*")) + list(database.parent.glob("*.replaced*"))


@pytest.mark.parametrize("how", ["noise", "truncated", "deleted"])
def test_a_store_that_is_lost_is_replaced_and_its_wal_never_played_into_the_new_one(
    workspace: Path, backup: Path, how: str
) -> None:
    database = store_of(workspace)
    with SessionManager(database) as manager:
        manager.create_session(title="in the -wal")
        wal = Path(f"{database}-wal").read_bytes()
    if how == "deleted":
        database.unlink()
    elif how == "noise":
        noise(database, 0, 4096)
    else:
        with database.open("r+b") as file:
            file.truncate(5000)
    Path(f"{database}-wal").write_bytes(wal)
    run(workspace, "restore", backup)
    assert titles(database) == ["old"]
    assert is_whole(database)
    kept = [path for path in database.parent.iterdir() if ".replaced-" in path.name]
    assert any(path.name.endswith(".backup-wal") and path.read_bytes() == wal for path in kept)
    assert (how != "deleted") == any(path.name.endswith(".backup") for path in kept)


def test_killed_at_any_moment_the_store_is_the_old_or_the_restored_one(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(10)), text=1_000_000)
    run(workspace, "backup", "backup.sqlite")
    fill(database, "new")
    old = store_id(database)
    shutil.copy(database, workspace / "old.sqlite")
    began = time.monotonic()
    run(workspace, "restore", "backup.sqlite")
    usual_time = time.monotonic() - began
    chance = random.Random(4)
    kills = restored = 0
    for _ in range(6):
        shutil.rmtree(database.parent)
        database.parent.mkdir(0o700)
        shutil.copy(workspace / "old.sqlite", database)
        old = store_id(database)  # a copy gets a name of its own when it is opened
        process = start(workspace, "restore", workspace / "backup.sqlite")
        time.sleep(chance.uniform(0.3, 1.1) * usual_time)
        end(process, signal.SIGKILL)
        assert is_whole(database)
        with connected(workspace) as client:
            listed = client.session_list(limit=50).sessions
            is_old = "new" in {session.title for session in listed}
            assert len(listed) == 10 + is_old
            info = client.server_info().stores[0].store_id
            assert (info == old) == is_old
            kills, restored = kills + 1, restored + (not is_old)
            client.session_create(title="it works")
        if list(database.parent.glob("*.partial*")) or list(database.parent.glob("*.replaced*")):
            run(workspace, "doctor", "--fix")
        assert not list(database.parent.glob("*.partial*"))
        assert all(not kept.samefile(database) for kept in database.parent.glob("*.backup"))
    record("ended while it restored", ended=kills, restored=restored, whole=kills)


def test_ctrl_c_leaves_nothing_half_done(workspace: Path) -> None:
    database = store_of(workspace)
    fill(database, *(f"{n}" for n in range(10)), text=1_000_000)
    run(workspace, "backup", "backup.sqlite")
    began = time.monotonic()
    run(workspace, "restore", "backup.sqlite")
    usual_time = time.monotonic() - began
    chance = random.Random(5)
    for _ in range(4):
        end_code = end_after(workspace, chance.uniform(0.3, 1.1) * usual_time)
        assert end_code in (0, 1, 130, -signal.SIGINT)
        assert not list(database.parent.glob("*.partial*"))
        assert len(titles(database)) == 10
        assert re.fullmatch(r"(\.gitignore|db\.sqlite(\.replaced-\d+\.backup)?|\s)+", " ".join(names(database.parent)))


def end_after(workspace: Path, seconds: float) -> int:
    process = start(workspace, "restore", workspace / "backup.sqlite")
    time.sleep(seconds)
    return end(process, signal.SIGINT)


def test_a_running_server_goes_on_on_the_restored_file(workspace: Path, backup: Path) -> None:
    database = store_of(workspace)
    with connected(workspace) as client:
        client.let_be("server/healthChanged")
        assert len(client.session_list().sessions) == 2
        before = client.server_info().stores[0].store_id
        client.session_create(title="before")
        run(workspace, "restore", backup)
        after = client.session_create(title="after")
        assert {session.title for session in client.session_list().sessions} == {"old", "after"}
        assert client.session_get(session_id=after.id) == after
        assert client.server_info().stores[0].store_id != before
    assert titles(database) == ["after", "old"]
    assert is_whole(database)
    assert titles(previous(database)) == ["before", "new", "old"]


_MAKER = """
import sys
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import StoreMoved
with SessionManager(sys.argv[1], busy_timeout=20) as manager:
    n = 0
    while True:
        try:
            manager.create_session(title=f"made {n}")
        except StoreMoved:
            continue
        print(n, flush=True)
        n += 1
"""


def test_an_acknowledged_write_is_in_the_previous_or_the_restored_file(workspace: Path, backup: Path) -> None:
    """A process writes before, through and after three restores, and never fails."""
    database = store_of(workspace)
    maker = subprocess.Popen([sys.executable, "-c", _MAKER, database], stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    try:
        for _ in range(3):
            for _ in range(20):
                assert maker.stdout.readline()
            run(workspace, "restore", backup, MANDRAKE_SESSIONS_BUSY_TIMEOUT="20")
        for _ in range(20):
            assert maker.stdout.readline()
        assert maker.poll() is None
    finally:
        maker.kill()
    told = maker.stdout.read().split()
    maker.stdout.close()
    maker.wait()
    files = [database, *database.parent.glob("db.sqlite.replaced-*.backup")]
    assert len(files) == 4
    found = [title for file in files for (title,) in sql(file, "SELECT title FROM session")]
    made = sorted(int(title.split()[1]) for title in found if title.startswith("made "))
    last = int(told[-1]) if told else 0
    # The one at which it was killed may be there, or not; one that had to be sent again may be there twice.
    assert set(made) >= set(range(last + 1))
    assert all(is_whole(file) for file in files)


def test_a_link_out_of_the_workspace_is_not_followed(workspace: Path, backup: Path) -> None:
    (workspace / "elsewhere").mkdir()
    other = workspace / "other"
    other.mkdir()
    (other / ".ws").symlink_to(workspace / "elsewhere")
    for arguments in (("restore", backup), ("backup", "x.sqlite"), ("migrate",), ("prune", "--older-than", "1d")):
        assert "is a symbolic link" in run(workspace, *arguments, "--workspace", other, code=1).err
    assert "is a symbolic link" in run(workspace, "doctor", "--fix", "--workspace", other, code=2).err
    assert names(workspace / "elsewhere") == []


@pytest.mark.parametrize("command", [("doctor",), ("backup", "x"), ("restore", "x"), ("prune", "--older-than", "1d")])
def test_a_workspace_that_is_not_there_is_not_made(workspace: Path, command: tuple[str, ...]) -> None:
    done = run(workspace, *command, "--workspace", str(workspace / "typo"), code=None)
    assert done.code != 0
    assert f"{workspace / 'typo'} does not exist" in done.err
    assert not (workspace / "typo").exists()
