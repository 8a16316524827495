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
from mandrake_sessions.errors import Busy, NotFound, Unreadable
from mandrake_sessions.model import Change
from mandrake_sessions.store.interface import Commit
from mandrake_sessions.store.sqlite.pool import open_databases
from mandrake_sessions.waiting import LONGEST_DELAY, backoff

PACKAGE = Path(__file__).parents[2] / "server" / "mandrake_sessions"
SESSION = "00000000-0000-4000-8000-%012d"


@pytest.fixture
def locked(database: Path, manager: SessionManager) -> Iterator[sqlite3.Connection]:
    """Another connection that holds the write lock."""
    with closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_all_or_nothing(manager: SessionManager) -> None:
    with pytest.raises(NotFound), manager.transaction():
        session = manager.create_session(title="gone")
        manager.create_round(session.id, content="gone")
        manager.get_turn("01890a5d-ac96-774b-bcce-b302099a8057")
    assert manager.list_sessions().sessions == []
    assert manager.feed.last_seq() == 0


def test_an_operation_that_fails_takes_no_other_with_it(manager: SessionManager) -> None:
    with manager.transaction():
        kept = manager.create_session(title="kept")
        with pytest.raises(NotFound):
            manager.delete_session("01890a5d-ac96-774b-bcce-b302099a8057")
        with pytest.raises(ZeroDivisionError), manager.transaction():
            manager.create_session(title="gone")
            raise ZeroDivisionError
        also = manager.create_session(title="also kept")
    assert [session.id for session in manager.list_sessions().sessions] == [also.id, kept.id]
    assert [change.seq for change in manager.feed.changes_since(0)] == [1, 2]


def test_what_is_read_inside_is_what_was_written_inside(manager: SessionManager) -> None:
    with manager.transaction():
        session = manager.create_session()
        assert manager.get_session(session.id) == session


def test_ctrl_c_inside_rolls_back(manager: SessionManager) -> None:
    with pytest.raises(KeyboardInterrupt), manager.transaction():
        manager.create_session()
        raise KeyboardInterrupt
    assert manager.list_sessions().sessions == []
    manager.create_session()


def test_a_change_is_published_only_after_its_commit(database: Path, manager: SessionManager) -> None:
    heard: list[int] = []
    committed = threading.Event()

    def hear(change: Change) -> None:
        heard.append(change.seq)
        committed.set()

    manager.add_listener(hear)
    with manager.transaction():
        manager.create_session()
        assert not committed.wait(0.1)
    assert committed.wait(10)
    assert heard == [1]


def test_what_is_committed_looks_so_whatever_a_hook_raises(
    database: Path, manager: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    """The operation succeeds, once, and the other hooks and listeners hear of it."""
    heard: list[str] = []
    told = threading.Event()

    def faulty(_: Commit) -> None:
        raise RuntimeError("a fault of this hook")

    def listen(change: Change) -> None:
        heard.append(change.kind)
        told.set()

    manager.store.on_commit(faulty)
    manager.store.on_commit(lambda _: heard.append("hook"))
    manager.add_listener(listen)
    session = manager.create_session(title="stored")
    assert told.wait(10)
    with manager.transaction():
        manager.update_session(session.id, title="renamed")
    assert [found.title for found in manager.list_sessions().sessions] == ["renamed"]
    assert heard.count("hook") == 2
    assert "a fault of this hook" in caplog.text
    with SessionManager(database) as other:
        assert other.get_session(session.id).title == "renamed"


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


def test_who_does_not_wait_does_not_wait_for_another_thread_either(manager: SessionManager) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with manager.transaction():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert inside.wait(10)
        with pytest.raises(Busy, match="another thread"), manager.transaction(wait=False):
            pass
        assert thread.is_alive()
    finally:
        go_on.set()
        thread.join()


def test_an_odd_value_harms_its_entity_alone(database: Path) -> None:
    """What is read from the file is data: the store stays open and writable."""
    with SessionManager(database) as manager:
        detail = manager.create_round(manager.create_session(id=SESSION % 1).id, content="")
        turn = manager.create_turn(detail.response.id)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("UPDATE turn SET status = 'noise'")
        with manager.transaction():
            manager.create_session(id=SESSION % 2)
            with pytest.raises(Unreadable, match="'noise'"):
                manager.get_turn(turn.id)
        manager.create_session(id=SESSION % 3)
        assert [session.id for session in manager.list_sessions().sessions] == [SESSION % n for n in (3, 2, 1)]


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


def test_transactions_begin_and_end_in_two_files_alone() -> None:
    control = re.compile(
        r"""["'](BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|END)\b|\.executescript\(|\.commit\(\)|\.rollback\(\)"""
    )
    found = {path.name for path in PACKAGE.rglob("*.py") if control.search(path.read_text())}
    assert found == {"transaction.py", "immediate.py"}
