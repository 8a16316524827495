"""Opening and closing: one writer connection a file and process, whatever names it, however many start at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import NotOpen, StorageFailure, StorageReason
from mandrake_sessions.store.sqlite import pool
from mandrake_sessions.store.sqlite.migrate import known_migrations

START = """
import sys
from mandrake_sessions import SessionManager
sys.stdin.readline()
with SessionManager(sys.argv[1]) as manager:
    manager.create_session(title=sys.argv[2])
"""


def other_names(database: Path, tmp_path: Path) -> dict[str, Callable[[], Path | str]]:
    def link() -> Path:
        (tmp_path / "link.sqlite").symlink_to(database)
        return tmp_path / "link.sqlite"

    def directory_link() -> Path:
        (tmp_path / "linked").symlink_to(database.parent)
        return tmp_path / "linked" / database.name

    return {
        "itself": lambda: database,
        "relative": lambda: os.path.relpath(database),
        "with dots": lambda: database.parent / ".." / database.parent.name / database.name,
        "a symbolic link": link,
        "a linked directory": directory_link,
    }


@pytest.mark.parametrize("name", list(other_names(Path(), Path())))
def test_whatever_names_the_file_it_is_open_once(database: Path, tmp_path: Path, name: str) -> None:
    with SessionManager(database) as first, SessionManager(other_names(database, tmp_path)[name]()) as second:
        assert len(pool.open_databases()) == 1
        assert first.store.state().references == 2
        session = first.create_session()
        assert second.get_session(session.id) == session
    assert pool.open_databases() == []


def test_concurrent_opens_of_one_file_open_it_once(database: Path) -> None:
    managers = [SessionManager(database) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(SessionManager.init, managers))
        assert len(pool.open_databases()) == 1
        assert managers[0].store.state().references == 8
        list(threads.map(SessionManager.close, managers))
    assert pool.open_databases() == []


def test_two_files_are_two() -> None:
    assert pool.open_databases() == []


@pytest.mark.parametrize("processes", [24])
def test_many_processes_may_start_at_once_on_a_new_file(database: Path, processes: int) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", START, str(database), f"s{n}"], stdin=subprocess.PIPE)
        for n in range(processes)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0] * processes
    with SessionManager(database) as manager:
        titles = {session.title for session in manager.list_sessions(limit=100).sessions}
    assert titles == {f"s{n}" for n in range(processes)}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM migration").fetchone() == (len(known_migrations()),)


def test_opened_twice_and_closed_twice_is_fine(database: Path) -> None:
    manager = SessionManager(database)
    manager.init()
    manager.init()
    assert manager.store.state().references == 1
    manager.close()
    manager.close()
    assert pool.open_databases() == []


@pytest.mark.parametrize("closed_before", [False, True])
def test_used_while_closed_it_raises_a_named_error(database: Path, closed_before: bool) -> None:
    manager = SessionManager(database)
    if closed_before:
        manager.init()
        manager.close()
    with pytest.raises(NotOpen, match=r"call init\(\)"):
        manager.create_session()
    manager.init()
    manager.create_session()
    manager.close()


def test_close_all_closes_what_managers_still_hold(database: Path) -> None:
    manager = SessionManager(database)
    manager.init()
    pool.close_all()
    assert pool.open_databases() == []
    assert not Path(f"{database}-wal").exists()
    assert manager.create_session().seq == 1
    manager.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections(database: Path) -> None:
    with SessionManager(database) as manager:
        manager.create_session(title="parent")
        child = os.fork()
        if child == 0:
            try:
                manager.create_session(title="child")
                manager.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        manager.create_session(title="parent again")
        titles = [session.title for session in manager.list_sessions().sessions]
        assert titles == ["parent again", "child", "parent"]
        with closing(sqlite3.connect(database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_files_and_directories_are_private(database: Path) -> None:
    with SessionManager(database) as manager:
        manager.create_session()
        modes = {path.name: path.stat().st_mode & 0o777 for path in [database.parent, *database.parent.iterdir()]}
    assert modes == {"store": 0o700, "db.sqlite": 0o600, "db.sqlite-wal": 0o600, "db.sqlite-shm": 0o600}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailure, match="Failed to create database directory") as failed:
        SessionManager(tmp_path / "file" / "db.sqlite").init()
    assert failed.value.reason is StorageReason.CREATE_DIRECTORY


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "db.sqlite").mkdir()
    with pytest.raises(StorageFailure, match="Failed to initialize database") as failed:
        SessionManager(tmp_path / "db.sqlite").init()
    assert failed.value.reason is StorageReason.OPEN


def test_threads_share_one_manager(manager: SessionManager) -> None:
    session = manager.create_session()
    turn = manager.create_turn(manager.create_round(session.id, content="?").response.id)
    barrier = threading.Barrier(6)

    def append(_: int) -> None:
        barrier.wait()
        for _ in range(20):
            manager.append_turn(turn.id, content="x")

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(append, range(6)))
    found = manager.get_turn(turn.id)
    assert (found.content, found.chunk_count) == ("x" * 120, 120)


def test_opening_a_file_leaves_the_transaction_of_another_thread_alone(database: Path) -> None:
    """A second manager of the file reads with a connection of its own."""

    def open_once() -> None:
        with SessionManager(database):
            pass

    with SessionManager(database) as manager, manager.transaction():
        manager.create_session(title="not committed yet")
        (opened,) = pool.open_databases()
        statements: list[str] = []
        opened.writer.set_trace_callback(statements.append)
        other = threading.Thread(target=open_once)
        other.start()
        other.join(20)
        opened.writer.set_trace_callback(None)
        assert not other.is_alive()
        assert statements == []
