"""What ``store/interface.py`` asks of a store itself: states, commits, wake-ups, leases, opening and closing."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from conformance.backends import Backend
from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Cancelled, NotOpen
from mandrake_sessions.model import ChangeKind, TurnStatus
from mandrake_sessions.operations.leases import interrupt_orphans
from mandrake_sessions.store.idle import LATER
from mandrake_sessions.store.interface import Commit

NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def test_a_snapshot_stays_as_it_was_for_every_thread(manager: SessionManager) -> None:
    before = manager.create_session()
    with ThreadPoolExecutor(1) as pool, manager.snapshot() as snapshot:
        manager.delete_session(before.id)

        def read() -> list[str]:
            with manager.snapshot():
                return [session.id for session in manager.list_sessions().sessions]

        assert pool.submit(read).result(10) == []
        assert manager.list_sessions().sessions == [before]
        assert snapshot.last_seq() == before.seq
    assert manager.list_sessions().sessions == []


def test_each_snapshot_holds_what_was_committed_before_it(manager: SessionManager) -> None:
    """Also where a store uses again what an earlier one was read from."""
    for count in range(1, 5):
        manager.create_session()
        for _ in range(2):
            with manager.snapshot() as snapshot:
                assert (len(manager.list_sessions().sessions), snapshot.last_seq()) == (count, count)


def test_a_snapshot_is_released_whether_it_was_entered_or_not(manager: SessionManager) -> None:
    for _ in range(20):
        snapshot = manager.snapshot()
        snapshot.release()
        snapshot.release()
    assert manager.create_session().seq == 1


def ended_by(work: Callable[[], object], interrupt: Callable[[], None]) -> BaseException | None:
    """What ``work`` raises on its thread, once it was interrupted as often as that took."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        while not running.done():
            time.sleep(0.01)
            interrupt()
        return running.exception()


def test_a_read_is_interrupted(manager: SessionManager) -> None:
    snapshot = manager.snapshot()

    def read() -> None:
        with snapshot, manager.store.reading() as sql:
            sql.execute(ENDLESS).fetchall()

    assert isinstance(ended_by(read, snapshot.interrupt), Cancelled)
    assert manager.list_sessions().sessions == []


def test_a_write_is_interrupted_and_leaves_nothing(manager: SessionManager) -> None:
    def write() -> None:
        with manager.store.transaction() as tx:
            manager.create_session()
            tx.sql.execute(f"UPDATE session SET round_count = ({ENDLESS})")  # noqa: S608

    assert isinstance(ended_by(write, manager.store.interrupt_write), Cancelled)
    assert manager.list_sessions().sessions == []
    manager.store.interrupt_write()
    assert manager.create_session().seq == 1


def test_a_commit_is_told_with_its_appends(manager: SessionManager, response: str) -> None:
    heard: list[Commit] = []
    turn = manager.create_turn(response)
    remove = manager.store.on_commit(heard.append)
    receipts = [manager.append_turn(turn.id, content=text) for text in "ab"]
    with pytest.raises(ZeroDivisionError), manager.transaction():
        manager.create_session()
        raise ZeroDivisionError
    session = manager.create_session()
    remove()
    manager.create_session()
    assert [(commit.seq_before, commit.seq) for commit in heard] == [
        (turn.seq, receipts[0].seq),
        (receipts[0].seq, receipts[1].seq),
        (receipts[1].seq, session.seq),
    ]
    told = [[(change.kind, change.content) for change in commit.changes or ()] for commit in heard]
    assert told == [[(ChangeKind.TURN_APPENDED, "a")], [(ChangeKind.TURN_APPENDED, "b")], []]
    assert heard[2].changes is None


def test_a_watch_tells_of_commits(manager: SessionManager) -> None:
    watch = manager.store.watch()
    try:
        assert not watch.moved()
        watch.drain()
        session = manager.create_session()
        if watch.fileno is not None:
            assert select.select([watch.fileno], [], [], 10)[0]
            watch.drain()
            assert not select.select([watch.fileno], [], [], 0)[0]
        assert watch.moved()
        assert not watch.moved()
        assert watch.last_seq() == session.seq
    finally:
        watch.close()


def test_turns_of_a_lease_that_nobody_holds_are_interrupted(manager: SessionManager, response: str) -> None:
    ours, theirs = manager.create_turn(response), manager.create_turn(response)
    lease_id = manager.store.lease_id
    assert lease_id is not None
    with manager.store.dead_lease(lease_id) as ours_is_dead, manager.store.dead_lease(NOBODY) as theirs_is_dead:
        assert (ours_is_dead, theirs_is_dead) == (False, True)
    with manager.store.transaction() as tx:
        tx.sql.execute("UPDATE turn SET lease = ? WHERE id = ?", (NOBODY, theirs.id))
    assert interrupt_orphans(manager.store) == 1
    found = [manager.get_turn(turn.id).status for turn in (ours, theirs)]
    assert found == [TurnStatus.STREAMING, TurnStatus.INTERRUPTED]


def test_the_last_one_to_close_has_the_last_words(backend: Backend) -> None:
    with backend.manager() as last:
        with backend.manager() as first:
            assert first.store.state().references == last.store.state().references == 2
            response = first.create_round(first.create_session().id, content="?").response.id
            streaming, detached = first.create_turn(response), first.create_turn(response, detached=True)
        assert last.get_turn(streaming.id).status is TurnStatus.STREAMING
        assert last.store.state().references == 1
    with backend.manager() as again:
        found = [again.get_turn(turn.id).status for turn in (streaming, detached)]
    assert found == [TurnStatus.INTERRUPTED, TurnStatus.STREAMING]


def test_a_closed_store_does_nothing_and_opens_again(manager: SessionManager) -> None:
    session = manager.create_session()
    manager.close()
    assert not manager.store.is_open
    assert not manager.store.is_current
    with pytest.raises(NotOpen):
        manager.list_sessions()
    with pytest.raises(NotOpen):
        manager.snapshot()
    manager.init()
    assert manager.list_sessions().sessions == [session]
    assert manager.create_session().seq == session.seq + 1


def test_idle_tasks_come_to_an_end(manager: SessionManager, response: str) -> None:
    for task in manager.store.idle_tasks():
        assert any(task.step(wait=True) >= LATER for _ in range(1000)), f"{task} never ends"


def test_the_store_says_how_it_is(manager: SessionManager) -> None:
    manager.create_session(title="x" * 100_000)
    assert manager.store.check() == manager.feed.store_id()
    facts = manager.store.facts()
    assert facts.db_bytes + facts.wal_bytes > 100_000
    assert manager.store.known_unreadable() == manager.store.unreadable() == []
    assert manager.store.failure is None
    assert manager.store.may_be_written
    assert manager.store.inspection().run() == []


def test_reads_of_many_threads_beside_a_writer(manager: SessionManager, response: str) -> None:
    """Each sees whole transactions: as many turns as the response says that it had."""
    stop = threading.Event()

    def read() -> int:
        looks = 0
        while not stop.is_set():
            with manager.snapshot():
                assert len(manager.list_turns(response, limit=1000).turns) % 2 == 0
            looks += 1
        return looks

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for _ in range(30):
            with manager.transaction():
                manager.create_turn(response, status=TurnStatus.COMPLETED)
                manager.create_turn(response, status=TurnStatus.COMPLETED)
        stop.set()
        assert all(reader.result(20) > 0 for reader in readers)
