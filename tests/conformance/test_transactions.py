"""What a transaction promises, whatever the store; ``tests/store/test_transaction.py`` has what files add to it."""

from __future__ import annotations

import threading

import pytest

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Busy, NotFound, Unreadable
from mandrake_sessions.model import Change
from mandrake_sessions.store.interface import Commit

SESSION = "00000000-0000-4000-8000-%012d"


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


def test_a_change_is_published_only_after_its_commit(manager: SessionManager) -> None:
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
    backend: Backend, manager: SessionManager, caplog: pytest.LogCaptureFixture
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
    with backend.manager() as other:
        assert other.get_session(session.id).title == "renamed"


def test_without_waiting_a_busy_thread_is_busy_at_once(manager: SessionManager) -> None:
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


def test_an_odd_value_harms_its_entity_alone(manager: SessionManager) -> None:
    """What is read from the store is data: it stays open and writable."""
    detail = manager.create_round(manager.create_session(id=SESSION % 1).id, content="")
    turn = manager.create_turn(detail.response.id)
    with manager.store.transaction() as tx:
        tx.sql.execute("UPDATE turn SET status = 'noise'")
    with manager.transaction():
        manager.create_session(id=SESSION % 2)
        with pytest.raises(Unreadable, match="'noise'"):
            manager.get_turn(turn.id)
    manager.create_session(id=SESSION % 3)
    assert [session.id for session in manager.list_sessions().sessions] == [SESSION % n for n in (3, 2, 1)]
    assert [error.entity_id for error in manager.store.known_unreadable()] == [turn.id]
