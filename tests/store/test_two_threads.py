"""A long read on two threads: both see one state, and neither outlives the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.errors import Cancelled
from mandrake_sessions.operations.two_threads import in_two_threads
from mandrake_sessions.stopping import Stoppable
from mandrake_sessions.store.interface import EntityStore, Sql

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


class Odd(Exception):
    """What a part of the read raises."""


@pytest.fixture
def store(database: Path) -> Iterator[EntityStore]:
    with SessionManager(database) as manager:
        manager.create_session(title="one")
        yield manager.store
        # Every connection was given back: the read after those goes on beside another thread again.
        with manager.store.reading():
            assert in_two_threads(manager.store, titles, titles) is not None


def titles(sql: Sql) -> list[Any]:
    return [title for (title,) in sql.execute("SELECT title FROM session ORDER BY pk")]


def endless(sql: Sql) -> list[Any]:
    return sql.execute(ENDLESS).fetchall()


def odd(_: Sql) -> list[Any]:
    raise Odd


def test_the_second_thread_reads_the_state_of_the_first(store: EntityStore) -> None:
    threads = []

    def note_thread(sql: Sql) -> list[Any]:
        threads.append(threading.get_ident())
        return titles(sql)

    with store.reading():
        assert in_two_threads(store, note_thread, note_thread) == (["one"], ["one"])
    assert len(set(threads)) == 2


def test_a_state_that_is_not_the_last_is_read_by_one(store: EntityStore, database: Path) -> None:
    with store.reading() as sql:
        with SessionManager(database) as other:
            other.create_session(title="two")
        assert in_two_threads(store, titles, titles) is None
        assert titles(sql) == ["one"]


def test_a_transaction_is_read_by_one(store: EntityStore) -> None:
    with store.transaction(), store.reading():
        assert in_two_threads(store, titles, titles) is None


def test_one_read_at_a_time_has_a_second_thread(store: EntityStore) -> None:
    tried = threading.Event()

    def try_again(sql: Sql) -> list[Any]:
        assert in_two_threads(store, titles, titles) is None
        tried.set()
        return titles(sql)

    def wait_for_it(sql: Sql) -> list[Any]:
        assert tried.wait(20)
        return titles(sql)

    with store.reading():
        assert in_two_threads(store, try_again, wait_for_it) == (["one"], ["one"])


@pytest.mark.parametrize(("here", "beside"), [(odd, endless), (titles, odd), (odd, odd)])
def test_an_exception_of_one_ends_the_read(store: EntityStore, here: Any, beside: Any) -> None:
    with store.reading(), pytest.raises(Odd):
        in_two_threads(store, here, beside)


def test_a_read_that_is_no_longer_wanted_ends_both(store: EntityStore) -> None:
    wanted, began = Stoppable(), time.monotonic()
    stop = threading.Timer(0.2, wanted.stop, ["nobody waits"])
    stop.start()
    with wanted, store.reading(), pytest.raises(Cancelled, match="nobody waits"):
        in_two_threads(store, titles, endless)
    stop.join()
    assert time.monotonic() - began < 20


def test_an_interrupted_read_ends_both(store: EntityStore) -> None:
    with store.snapshot() as snapshot:
        stop = threading.Timer(0.2, snapshot.interrupt)
        stop.start()
        with pytest.raises(Cancelled):
            in_two_threads(store, endless, endless)
    stop.join()
