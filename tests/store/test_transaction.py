"""One way to begin and end a transaction, and what it promises."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mandrake_sessions import Durability, SessionManager
from mandrake_sessions.errors import Busy
from mandrake_sessions.maintenance import Level, check_up
from mandrake_sessions.operations.forking import remove_hidden
from mandrake_sessions.store.sql.copying import copied_columns
from mandrake_sessions.store.sql.hidden import insert_hidden
from mandrake_sessions.store.sql.sessions import get_session
from mandrake_sessions.store.sqlite.pool import open_databases
from mandrake_sessions.store.sqlite.transaction import SqliteSnapshot
from mandrake_sessions.waiting import LONGEST_DELAY, backoff

PACKAGE = Path(__file__).parents[2] / "server" / "mandrake_sessions"
SESSION = "00000000-0000-4000-8000-%012d"


@pytest.fixture
def locked(database: Path, manager: SessionManager) -> Iterator[sqlite3.Connection]:
    """Another connection that holds the write lock."""
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.mark.parametrize("budget", [0.0, 0.2])
def test_a_lock_held_for_too_long_is_busy(database: Path, locked: sqlite3.Connection, budget: float) -> None:
    with SessionManager(database, busy_timeout=budget) as waiting:
        began = time.monotonic()
        with pytest.raises(Busy, match="was locked") as busy:
            waiting.create_session()
    assert time.monotonic() - began >= budget
    assert busy.value.waited_ms >= budget * 1000 - 1


def test_a_lock_that_is_given_back_in_time_is_waited_for(manager: SessionManager, locked: sqlite3.Connection) -> None:
    timer = threading.Timer(0.2, lambda: locked.execute("COMMIT"))
    timer.start()
    assert manager.create_session().seq == 1
    timer.join()
    assert manager.store.state().busy_retries > 0


def test_reads_go_on_while_another_process_writes(manager: SessionManager, locked: sqlite3.Connection) -> None:
    assert manager.list_sessions().sessions == []


def test_the_backoff_grows_within_its_budget() -> None:
    delays = list(zip(backoff(0.02), range(1000), strict=False))
    assert all(0 <= delay <= min(0.02, LONGEST_DELAY) for delay, _ in delays)
    assert list(backoff(0)) == []


@pytest.mark.parametrize(("durability", "appends", "others"), [("balanced", 1, 2), ("full", 2, 2), ("normal", 1, 1)])
def test_what_a_commit_waits_for(database: Path, durability: str, appends: int, others: int) -> None:
    with SessionManager(database, durability=Durability(durability)) as manager:
        session = manager.create_session()
        assert _synchronous() == others
        turn = manager.create_turn(manager.create_round(session.id, content="?").response.id)
        manager.append_turn(turn.id, content="x")
        assert _synchronous() == appends
        with manager.transaction():
            manager.append_turn(turn.id, content="x")
        assert _synchronous() == others


def _synchronous() -> int:
    (database,) = open_databases()
    return int(database.writer.execute("PRAGMA synchronous").fetchone()[0])


@pytest.mark.usefixtures("manager")
def test_foreign_keys_are_on() -> None:
    (database,) = open_databases()
    writer = database.writer
    assert writer.execute("PRAGMA foreign_keys").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError):
        writer.execute("INSERT INTO text (pk, turn_pk) VALUES (1, 99)")


def test_a_read_that_was_not_ended_keeps_no_old_state(manager: SessionManager) -> None:
    """As the traceback of a cancelled read does, somebody still holds a cursor: the next reader gets its connection."""
    for _ in range(3):
        manager.create_session()
    with manager.store.snapshot() as snapshot:
        assert isinstance(snapshot, SqliteSnapshot)
        held = iter(snapshot.sql.execute("SELECT id FROM session"))
        next(held)
    manager.create_session()
    assert len(manager.list_sessions().sessions) == 4
    assert manager.store.check()
    with pytest.raises(sqlite3.ProgrammingError):
        next(held)


def test_the_numbers_of_a_copy_that_goes_again_are_not_given_twice(database: Path, manager: SessionManager) -> None:
    """A process may be killed after any step of a fork; a store whose numbers go back counts as another."""
    session = manager.create_session()
    with manager.store.transaction() as tx:
        pk = get_session(tx.sql, session.id).pk
        copy = insert_hidden(tx, copied_columns(tx.sql, pk), 0)
        given = tx.seq
    assert given > session.seq
    while remove_hidden(manager.store, copy.pk):
        pass
    assert manager.list_sessions().seq == given
    assert manager.create_session().seq == given + 1
    assert [found.text for found in check_up(str(database)) if found.level is Level.PROBLEM] == []


def test_transactions_begin_and_end_in_two_files_alone() -> None:
    control = re.compile(
        r"""["'](BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END)\b|\.executescript\(|\.commit\(\)|\.rollback\(\)"""
    )
    found = {path.name for path in PACKAGE.rglob("*.py") if control.search(path.read_text())}
    assert found == {"transaction.py", "immediate.py"}
