"""What is done to the stores without being asked: files that moved are opened again, turns of processes that are gone
are marked, the feed is pruned. All that reads or writes a file happens on the writer thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from weakref import WeakKeyDictionary

from mandrake_sessions.connection.writer_thread import WriterThread
from mandrake_sessions.errors import Busy, FileMoved, SessionsError
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.housekeeping import Housekeeper, housekeeper
from mandrake_sessions.operations.leases import interrupt_orphans

logger = logging.getLogger(__name__)

# How often idle work is looked for where none is known to be due, and where a lock was in its way.
HOUSE_SECONDS = 1.0
BUSY_HOUSE_SECONDS = 0.1
_ORPHANS = "turns of processes that are gone could not be looked for"
_IDLE_WORK = "idle work on a store failed"


class Upkeep:
    """Idle work on the open stores. ``on_news`` is called when other subscribers may have been given something."""

    def __init__(self, stores: OpenStores, writer: WriterThread, on_news: Callable[[], None]) -> None:
        self._stores = stores
        self._writer = writer
        self._on_news = on_news
        self._housekeepers: WeakKeyDictionary[SessionManager, Housekeeper] = WeakKeyDictionary()
        # What each kind of work on a store failed with last; it is told once, not every second.
        self._failures: WeakKeyDictionary[SessionManager, dict[str, str]] = WeakKeyDictionary()

    def opened(self, manager: SessionManager) -> None:
        """The file may be another one now: what was measured of it means nothing."""
        self._housekeepers.pop(manager, None)

    def interrupt_orphans(self, then: Callable[[], None]) -> None:
        """Mark the turns of processes that are gone; what something is in the way of is left for the next time.
        ``then`` is called afterwards."""

        def done(finished: Future[bool]) -> None:
            if finished.result():
                self._on_news()
            then()

        self._writer.run(self._interrupt_orphans, done)

    def _interrupt_orphans(self) -> bool:
        found = False
        for manager in self._managers_in_place():
            try:
                found = bool(interrupt_orphans(manager.store, wait=False)) or found
                self._worked(manager, _ORPHANS)
            except (Busy, FileMoved):
                continue
            except Exception as error:
                self._failed(manager, _ORPHANS, error)
        return found

    def keep_house(self, then: Callable[[float], None]) -> None:
        """One short step of idle work on each store; ``then`` is given the seconds until the next is due."""
        self._writer.run(self._keep_house, lambda finished: then(finished.result()))

    def _keep_house(self) -> float:
        pauses = [HOUSE_SECONDS]
        for manager in self._managers_in_place():
            try:
                pauses.append(self._housekeeper(manager).step(wait=False))
                self._worked(manager, _IDLE_WORK)
            except (Busy, FileMoved):
                pauses.append(BUSY_HOUSE_SECONDS)
            except Exception as error:
                self._failed(manager, _IDLE_WORK, error)
        return min(pauses)

    def _housekeeper(self, manager: SessionManager) -> Housekeeper:
        found = self._housekeepers.get(manager)
        if found is None:
            settings = self._stores.settings
            found = housekeeper(manager.store, settings.feed_max_bytes, settings.feed_max_age)
            self._housekeepers[manager] = found
        return found

    def _worked(self, manager: SessionManager, what: str) -> None:
        self._failures.get(manager, {}).pop(what, None)

    def _failed(self, manager: SessionManager, what: str, error: Exception) -> None:
        is_known = isinstance(error, SessionsError)
        shown = str(error) if is_known else type(error).__name__
        known = self._failures.setdefault(manager, {})
        if known.get(what) != shown:
            known[what] = shown
            logger.warning("%s, it will be tried again: %s", what, shown, exc_info=None if is_known else error)

    def _managers_in_place(self) -> list[SessionManager]:
        """Those that need not be opened anew first, which takes its time."""
        return [manager for _, manager in self._stores.open_stores() if manager.store.is_current]
