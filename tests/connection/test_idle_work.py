"""Idle work: tasks that others register have their turn, whatever the store's own tasks have to do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mandrake_sessions import SessionManager
from mandrake_sessions.connection.idle_work import IdleWork, MakeTasks
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.settings import Settings
from mandrake_sessions.store import idle
from mandrake_sessions.store.interface import IdleTask, Store


class Counting:
    """A task that counts its steps, with a read of the store in each."""

    def __init__(self, store: Store, pause: float) -> None:
        self.steps = 0
        self.seq = 0
        self.threads: set[str] = set()
        self._store = store
        self._pause = pause

    def step(self, *, wait: bool) -> float:
        self.steps += 1
        self.seq = self._store.last_seq()
        self.threads.add(threading.current_thread().name)
        return self._pause


class Failing(Counting):
    def step(self, *, wait: bool) -> float:
        super().step(wait=wait)
        raise RuntimeError("a task with a fault")


def counting(made: list[Counting]) -> MakeTasks:
    """Makes one task that counts for each store, and adds it to ``made``."""

    def make(store: Store) -> list[IdleTask]:
        made.append(Counting(store, 3.0))
        return [made[-1]]

    return make


@contextmanager
def opened(path: Path) -> Iterator[tuple[IdleWork, SessionManager]]:
    stores = OpenStores(Settings(database=str(path)))
    runners = Runners(stores, lambda: None)
    place = next(iter(stores.known()))
    manager = stores.open(place, make=True)
    assert manager is not None
    try:
        yield IdleWork(stores, runners, lambda: None), manager
    finally:
        runners.close()
        stores.close()


async def steps(work: IdleWork, count: int = 1) -> float:
    """So many steps of idle work; gives the pause after the last."""
    pause = 0.0
    for _ in range(count):
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        work.keep_house(done.set_result)
        pause = await asyncio.wait_for(done, 20)
    return pause


async def test_a_registered_task_has_its_turn_while_the_feed_grows(tmp_path: Path) -> None:
    made: list[Counting] = []
    with opened(tmp_path / "db.sqlite") as (work, manager):
        work.register(counting(made))
        for number in range(5):
            session = manager.create_session(title=str(number))
            # The feed has grown: its own task has something to do again soon, and lets none behind it have a turn.
            assert await steps(work) <= idle.SOON
            assert made[0].seq == session.seq
        assert [task.steps for task in made] == [5]
        assert made[0].threads == {"mandrake-sessions-write_0"}


async def test_the_pause_is_the_shortest_that_any_task_asks_for(tmp_path: Path) -> None:
    with opened(tmp_path / "db.sqlite") as (work, _):
        while await steps(work) < 1.0:
            pass
        work.register(lambda store: [Counting(store, 0.25)])
        while (pause := await steps(work)) != 0.25:
            assert pause < 0.25


async def test_tasks_are_made_again_for_a_store_that_was_opened_again(tmp_path: Path) -> None:
    made: list[Counting] = []
    with opened(tmp_path / "db.sqlite") as (work, manager):
        work.register(counting(made))
        await steps(work, 2)
        work.opened(manager)
        await steps(work, 3)
    assert [task.steps for task in made] == [2, 3]


async def test_a_task_that_fails_is_logged_once_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Counting] = []
    with opened(tmp_path / "db.sqlite") as (work, _):
        work.register(lambda store: [Failing(store, 3.0)])
        work.register(counting(made))
        await steps(work, 3)
    assert [task.steps for task in made] == [3]
    assert [record.message for record in caplog.records if "idle work" in record.message] == [
        "idle work on a store failed, it will be tried again: RuntimeError"
    ]
