"""What a program that embeds the manager sees when its file is deleted or replaced."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Busy, NotFound, StorageFailure
from mandrake_sessions.model import Change

NEW = "00000000-0000-4000-8000-%012d"


def test_a_deleted_file_is_made_anew_by_the_next_operation(database: Path) -> None:
    with SessionManager(database) as manager:
        old, store_id = manager.create_session(), manager.feed.store_id()
        shutil.rmtree(database.parent)
        new = manager.create_session()
        assert (new.seq, manager.store.reconnects, manager.store.state().replacements) == (1, 1, 1)
        assert manager.feed.store_id() != store_id
        with pytest.raises(NotFound):
            manager.get_session(old.id)


def test_two_managers_go_on_in_the_same_new_file(database: Path) -> None:
    with SessionManager(database) as first, SessionManager(database) as second:
        database.unlink()
        session = first.create_session()
        assert second.get_session(session.id) == session
        assert second.store.state().references == first.store.state().references == 2


def test_a_transaction_whose_file_goes_meanwhile_is_refused_or_done_in_the_new_one(database: Path) -> None:
    """It never says that it stored what is in no file that is found."""
    with SessionManager(database) as manager:
        manager.create_session()
        with pytest.raises(Exception, match="try again"), manager.transaction():
            manager.create_session(title="lost")
            shutil.rmtree(database.parent)
        assert manager.list_sessions().sessions == []


def test_listeners_hear_what_is_committed_to_the_new_file(database: Path) -> None:
    heard: list[str | None] = []
    arrived = threading.Event()

    def listener(change: Change) -> None:
        heard.append(change.session_id)
        if len(heard) >= 2 and heard[-2:] == ids:
            arrived.set()

    with SessionManager(database) as manager:
        ids: list[str] = []
        manager.add_listener(listener)
        manager.create_session()
        database.unlink()
        ids = [NEW % 1, NEW % 2]
        for session_id in ids:
            manager.create_session(id=session_id)
        assert arrived.wait(10), heard


def test_listeners_go_on_when_the_first_tries_to_open_the_store_anew_failed(database: Path) -> None:
    """Whoever succeeds at last: the listeners' own thread, or an operation."""
    heard: list[str | None] = []
    arrived = threading.Event()

    def listener(change: Change) -> None:
        heard.append(change.session_id)
        if change.session_id == NEW % 2:
            arrived.set()

    home = database.parent / "a" / "b"
    elsewhere = database.parent / "elsewhere"
    with SessionManager(home / database.name) as manager:
        manager.add_listener(listener)
        manager.create_session(id=NEW % 1)
        home.parent.rename(elsewhere)
        with pytest.raises(StorageFailure, match="database directory"):
            manager.store.open()
        elsewhere.rename(home.parent)
        manager.store.open()
        assert manager.store.reconnects == 1
        manager.create_session(id=NEW % 2)
        assert arrived.wait(10), heard


def test_a_deleted_wal_is_kept_as_a_copy_where_another_process_is_at_its_checkpoint(database: Path) -> None:
    """The database is not known to have what the -wal held, then."""
    with SessionManager(database) as manager:
        manager.create_session(id=NEW % 1)
        with checkpoint_lock(database):
            Path(f"{database}-wal").unlink()
            # While another process has the -wal that is gone, who opens the file anew cannot read it.
            with suppress(StorageFailure):
                manager.create_session(id=NEW % 2)
        copies = list(database.parent.glob(f"{database.name}.rescued-*.backup"))
    assert copies
    with closing(sqlite3.connect(copies[0])) as connection:
        assert connection.execute("SELECT id FROM session ORDER BY pk").fetchall() == [(NEW % 1,)]


@contextmanager
def another_process(database: Path, script: str) -> Iterator[None]:
    """One that has the database open, and has carried out the script."""
    beginning = """
import fcntl, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM session").fetchone()
"""
    ending = """
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", beginning + script + ending, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        yield


def checkpoint_lock(database: Path) -> AbstractContextManager[None]:
    """Another process that has the database open holds SQLite's lock for checkpoints (its file format, "WAL-index
    locks")."""
    script = """
file = open(sys.argv[1] + "-shm", "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 121)
"""
    return another_process(database, script)


def reading_in_another_process(database: Path) -> AbstractContextManager[None]:
    return another_process(database, "")


def test_a_read_from_before_the_shm_was_deleted_keeps_nobody_on_the_deleted_one(database: Path) -> None:
    """SQLite gives the connections of a process one -shm. While one from before is open, a new one would be on the
    deleted file, and another process that has made a new one on that: two that write at once damage the database."""
    with SessionManager(database, busy_timeout=2.5) as manager:
        session = manager.create_session()
        pin = manager.snapshot()
        Path(f"{database}-shm").unlink()
        with reading_in_another_process(database):
            with pytest.raises(Busy):
                manager.update_session(session.id, title="on the deleted one")
            pin.release()
            manager.update_session(session.id, title="on the new one")
            named = Path(f"{database}-shm").stat()
            if Path("/proc/self/fd").exists():
                assert any(os.path.samestat(named, found) for found in open_files())
        with closing(sqlite3.connect(database)) as other:
            assert other.execute("SELECT title FROM session").fetchall() == [("on the new one",)]
            assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def open_files() -> Iterator[os.stat_result]:
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            yield os.fstat(int(entry.name))


def test_closing_copies_no_old_wal_over_what_others_have_written_since(database: Path) -> None:
    """The last connection of all copies its -wal into the database as it closes. One whose -shm was deleted knows of
    its own part of the -wal alone."""
    with SessionManager(database) as manager:
        session = manager.create_session(title="before")
        Path(f"{database}-shm").unlink()
        script = """
import sys
from mandrake_sessions import SessionManager
with SessionManager(sys.argv[1]) as manager:
    for n in range(100):
        manager.update_session(sys.argv[2], title=f"after {n}")
"""
        subprocess.run([sys.executable, "-c", script, str(database), session.id], check=True)
    with closing(sqlite3.connect(database)) as other:
        assert other.execute("SELECT title FROM session").fetchall() == [("after 99",)]
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_program_that_makes_a_workspaces_store_keeps_it_out_of_git(tmp_path: Path) -> None:
    with SessionManager(tmp_path / ".ws" / "db.sqlite") as manager:
        manager.create_session()
    assert (tmp_path / ".ws" / ".gitignore").read_text() == "*\n"
