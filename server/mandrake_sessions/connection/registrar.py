"""Notes the stores that this server uses in the register, beside everything else: soon after a store was opened, and
now and then while it is used. Whatever goes wrong with the register is logged, and concerns no request."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Iterable
from contextlib import suppress

from mandrake_sessions.errors import SessionsError, StorageFailure
from mandrake_sessions.ids import now_ms
from mandrake_sessions.late_import import late_import
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import OpenStore, StorePlace

logger = logging.getLogger(__name__)

# After a store was opened, so that what it was opened for goes first.
NOTE_AFTER_SECONDS = 0.05
# So often it is noted that a store is used.
NOTE_EVERY_MS = 10 * 60 * 1000
# When it is tried again after a failure.
AGAIN_MS = 60 * 1000
# How long the end of the server waits for what is still to be noted.
END_SECONDS = 0.5


class Registrar:
    """A store counts as used for as long as it is open."""

    def __init__(self, stores: OpenStores) -> None:
        self._loop = asyncio.get_running_loop()
        self._stores = stores
        self._noted_at: dict[StorePlace, int] = {}
        self._to_note: queue.SimpleQueue[list[OpenStore] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._last_fault = ""

    def opened(self) -> None:
        """A store was opened. Called on the thread that has opened it."""
        # The loop may have ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.call_later, NOTE_AFTER_SECONDS, self.look)

    def look(self) -> None:
        """Have the stores noted that are open and were not, or not for a while."""
        if self._stores.settings.no_register:
            return
        now = now_ms()
        due = self._asked(place for place, _ in self._stores.open_stores() if self._is_due(place, now))
        if not due or not self._begin():
            return
        self._noted_at |= {store.place: now for store in due}
        self._to_note.put(due)

    def open_here(self) -> list[OpenStore]:
        """The stores that are open here, each with its ``storeId``; those that cannot tell it are left out."""
        return self._asked(place for place, _ in self._stores.open_stores())

    def _is_due(self, place: StorePlace, now: int) -> bool:
        noted_at = self._noted_at.get(place)
        return noted_at is None or not 0 <= now - noted_at < NOTE_EVERY_MS

    def _asked(self, places: Iterable[StorePlace]) -> list[OpenStore]:
        found = []
        for place in places:
            manager = self._stores.opened(place)
            if manager is not None and manager.store.runs_on == "loop":
                with suppress(SessionsError):
                    found.append(OpenStore(place, manager.store.check(), self._noted_at.get(place, now_ms())))
        return found

    def close(self) -> None:
        """Note what is still to be noted, and wait for that a moment."""
        with suppress(Exception):
            self.look()
        if self._thread is not None:
            self._to_note.put(None)
            self._thread.join(END_SECONDS)

    def _begin(self) -> bool:
        """Whether there is a thread, which the end of the process does not wait for."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="mandrake-sessions-register", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError):
                return False
            self._thread = thread
        return True

    def _work(self) -> None:
        while (stores := self._to_note.get()) is not None:
            try:
                self._note(stores)
            except StorageFailure as failure:
                self._try_again(stores)
                self._log(str(failure), is_usual=False)
            except Exception as error:
                logger.warning("the register of stores could not be written: %s", error, exc_info=True)

    def _note(self, stores: list[OpenStore]) -> None:
        # On this thread, after the start of the program.
        with late_import():
            from mandrake_sessions.connection.noting import NotNoted, note
        try:
            note(stores, NOTE_EVERY_MS)
            self._last_fault = ""
        except NotNoted as reason:
            if reason.is_passing:
                self._try_again(stores)
            self._log(str(reason), is_usual=reason.is_usual)

    def _try_again(self, stores: list[OpenStore]) -> None:
        again = now_ms() - NOTE_EVERY_MS + AGAIN_MS
        self._noted_at |= {store.place: again for store in stores}

    def _log(self, what: str, *, is_usual: bool) -> None:
        """Once, as long as it stays the same."""
        if what != self._last_fault:
            self._last_fault = what
            logger.log(logging.INFO if is_usual else logging.WARNING, "%s", what)
