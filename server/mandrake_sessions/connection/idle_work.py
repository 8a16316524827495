"""Work on the open stores that nobody asks for, in short steps, on the threads of the stores: turns of processes that
are gone are marked, the feed is pruned, and what else is registered.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mandrake_sessions.connection.runner import ThreadRunner
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.errors import Busy, NotOpen, SessionsError, StoreMoved
from mandrake_sessions.late_import import late_import
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.leases import interrupt_orphans, interrupt_own
from mandrake_sessions.protocol.words import in_wire_words
from mandrake_sessions.store.interface import IdleTask, Store

if TYPE_CHECKING:
    from mandrake_sessions.operations.housekeeping import Housekeeper
    from mandrake_sessions.operations.indexing import Indexer

logger = logging.getLogger(__name__)

# How often idle work is looked for where none is known to be due, and where a lock was in its way.
HOUSE_SECONDS = 1.0
BUSY_HOUSE_SECONDS = 0.1
# Filling the search index goes on after a shorter pause than this where there is more to do.
MORE_SECONDS = 0.01
# At the end, so that each script puts something in, however slow the machine is.
FIRST_STEP_SECONDS = 1.0
# After filling the search index has failed, as on a full disk.
FAILED_SECONDS = 5.0
_ORPHANS = "turns of processes that are gone could not be looked for"
_SEARCH = "the search index could not be filled"
_IDLE_WORK = "idle work on a store failed"

# The idle tasks of a store, in their order: each has its turn while those before it have nothing to do.
MakeTasks = Callable[[Store], Sequence[IdleTask]]


class IdleWork:
    """``on_news`` is called when other subscribers may have been given something."""

    def __init__(self, stores: OpenStores, runners: Runners, on_news: Callable[[], None]) -> None:
        self._stores = stores
        self._runners = runners
        self._on_news = on_news
        self._makers: list[MakeTasks] = []
        self._housekeepers: WeakKeyDictionary[SessionManager, list[Housekeeper]] = WeakKeyDictionary()
        self._indexers: WeakKeyDictionary[SessionManager, Indexer] = WeakKeyDictionary()
        # What each kind of work, and each list of tasks, failed with last: it is told once, not every second.
        self._failures: WeakKeyDictionary[SessionManager, dict[tuple[str, int], str]] = WeakKeyDictionary()

    def register(self, make: MakeTasks) -> None:
        """Have further tasks done for each store: ``make`` is called once for each time that a store is opened. They
        have their turn whatever the tasks of others have to do."""
        self._makers.append(make)
        self._housekeepers.clear()

    def opened(self, manager: SessionManager) -> None:
        """The store may be another one now: what tasks remember of it means nothing."""
        self._housekeepers.pop(manager, None)
        self._indexers.pop(manager, None)

    def interrupt_orphans(self) -> None:
        """Mark the turns of processes that are gone; what something is in the way of is left for the next time."""
        for thread, managers in self._by_thread().items():
            thread.run(partial(self._interrupt_orphans, managers), self._orphans_interrupted)

    def _interrupt_orphans(self, managers: list[SessionManager]) -> bool:
        found = False
        for manager in _in_place(managers):
            try:
                found = bool(interrupt_orphans(manager.store, wait=False)) or found
                self._worked(manager, _ORPHANS)
            except (Busy, StoreMoved):
                continue
            except Exception as error:
                self._failed(manager, _ORPHANS, error)
        return found

    def _orphans_interrupted(self, found: bool | Exception) -> None:
        if found is True:
            self._on_news()

    async def _interrupt_own(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiting = []
        for thread, managers in self._by_thread().items():
            ended: asyncio.Future[object] = loop.create_future()
            thread.run(partial(_interrupt_own, managers), ended.set_result)
            waiting.append(ended)
        await asyncio.wait(waiting, timeout=seconds)

    def keep_house(self, then: Callable[[float], None]) -> None:
        """One short step of idle work on each store; ``then`` is given the seconds until the next is due."""
        jobs = self._by_thread()
        pauses: list[float] = []

        def done(pause: float | Exception) -> None:
            pauses.append(HOUSE_SECONDS if isinstance(pause, Exception) else pause)
            if len(pauses) == len(jobs):
                then(min(pauses))

        for thread, managers in jobs.items():
            thread.run(partial(self._keep_house, managers), done)

    def _keep_house(self, managers: list[SessionManager]) -> float:
        pauses = [HOUSE_SECONDS]
        for manager in _in_place(managers):
            for number, keeper in enumerate(self._keepers(manager)):
                try:
                    pauses.append(keeper.step(wait=False))
                    self._worked(manager, _IDLE_WORK, number)
                except (Busy, StoreMoved):
                    pauses.append(BUSY_HOUSE_SECONDS)
                except Exception as error:
                    self._failed(manager, _IDLE_WORK, error, number)
        return min(pauses)

    def fill_search(self, then: Callable[[float], None]) -> None:
        """One short step of filling the search index of each store, on a thread of its own: calls do not wait for it.
        ``then`` is given the seconds until the next is due."""
        managers = [manager for _, manager in self._stores.open_stores()]

        def done(pause: float | Exception) -> None:
            then(HOUSE_SECONDS if isinstance(pause, Exception) else pause)

        self._runners.search.run(partial(self._fill_search, managers), done)

    async def fill_search_at_end(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        """Fill the search indexes for so many seconds, as long as it ``is_wanted``; with the turns that still stream
        here, which end now: when the stores are closed it is too late for them."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if is_wanted():
            await self._interrupt_own(seconds)
        pause, left = 0.0, max(seconds, FIRST_STEP_SECONDS)
        while pause < MORE_SECONDS and is_wanted() and left > 0 and self._stores.open_stores():
            stepped: asyncio.Future[float] = loop.create_future()
            self.fill_search(stepped.set_result)
            done, _ = await asyncio.wait({stepped}, timeout=left)
            pause, left = (stepped.result() if done else math.inf), until - loop.time()

    def _fill_search(self, managers: list[SessionManager]) -> float:
        # Here and for the other idle work: on a thread, after the start of the program.
        with late_import():
            from mandrake_sessions.operations.indexing import Indexer

        pauses = [HOUSE_SECONDS / 2]
        for manager in _in_place(managers):
            indexer = self._indexers.setdefault(manager, Indexer(manager.store))
            try:
                pauses.append(indexer.step(wait=False))
                self._worked(manager, _SEARCH)
            except (Busy, StoreMoved, NotOpen):
                pauses.append(BUSY_HOUSE_SECONDS)
            except Exception as error:
                self._failed(manager, _SEARCH, error)
                pauses.append(FAILED_SECONDS)
        return min(pauses)

    def _keepers(self, manager: SessionManager) -> list[Housekeeper]:
        with late_import():
            from mandrake_sessions.operations.housekeeping import Housekeeper, housekeeper

        found = self._housekeepers.get(manager)
        if found is None:
            settings, store = self._stores.settings, manager.store
            found = [
                housekeeper(store, settings.feed_max_bytes, settings.feed_max_age),
                *(Housekeeper(make(store)) for make in self._makers),
            ]
            self._housekeepers[manager] = found
        return found

    def _by_thread(self) -> dict[ThreadRunner, list[SessionManager]]:
        """The open stores by the thread that may take its time with them."""
        found: dict[ThreadRunner, list[SessionManager]] = {self._runners.shared.thread: []}
        for place, manager in self._stores.open_stores():
            found.setdefault(self._runners.of(place).thread, []).append(manager)
        return found

    def _worked(self, manager: SessionManager, what: str, number: int = 0) -> None:
        self._failures.get(manager, {}).pop((what, number), None)

    def _failed(self, manager: SessionManager, what: str, error: Exception, number: int = 0) -> None:
        is_known = isinstance(error, SessionsError)
        shown = in_wire_words(error) if is_known else type(error).__name__
        known = self._failures.setdefault(manager, {})
        if known.get((what, number)) != shown:
            known[what, number] = shown
            logger.warning("%s, it will be tried again: %s", what, shown, exc_info=None if is_known else error)


def _interrupt_own(managers: list[SessionManager]) -> None:
    for manager in _in_place(managers):
        # Closing the store tries it again.
        with suppress(SessionsError):
            interrupt_own(manager.store)


def _in_place(managers: list[SessionManager]) -> list[SessionManager]:
    """The stores that need not be opened again first, which takes its time."""
    return [manager for manager in managers if manager.store.is_current]
