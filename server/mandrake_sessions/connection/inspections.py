"""Looking through whole stores for damage: those that were not looked through when they were opened, on threads."""

from __future__ import annotations

import logging
import threading
import time

from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.errors import Busy, Cancelled, SessionsError, StoreMoved
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store.interface import Inspection

logger = logging.getLogger(__name__)

# A large store is looked through a while after it was opened, and then seldom.
FIRST_LOOK, NEXT_LOOK = 2.0, 6 * 3600.0
# One in which something was wrong is looked through again after so many seconds, or so many times what that takes.
FAULTY_LOOK, LOOK_SHARE = 15.0, 50.0
END_SECONDS = 0.02


class Inspections:
    """One for each open store, begun when it is time."""

    def __init__(self, stores: OpenStores, runners: Runners) -> None:
        self._stores = stores
        self._runners = runners
        self._inspections: dict[SessionManager, _StoreInspection] = {}

    def begin_due(self) -> None:
        """Begin those for which it is time."""
        for _, manager in self._stores.open_stores():
            if manager not in self._inspections:
                self._inspections[manager] = _StoreInspection(manager)
            inspection = self._inspections[manager]
            self._runners.following(manager).run(inspection.begin_if_due, lambda _: None)

    def close(self) -> None:
        for inspection in self._inspections.values():
            inspection.end()


class _StoreInspection:
    """The inspection of one store, from a snapshot, on a thread."""

    def __init__(self, manager: SessionManager) -> None:
        self._store = manager.store
        self._due = time.monotonic() + FIRST_LOOK
        # How often the store had been opened again when it was looked through.
        self._reconnects = -1
        self._failed = ""
        self._inspection: Inspection | None = None
        self._thread: threading.Thread | None = None

    def begin_if_due(self) -> None:
        if not self._is_due() or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = time.monotonic() + NEXT_LOOK
        try:
            if self._store.needs_inspection:
                self._inspection = self._store.inspection()
                self._reconnects = self._store.reconnects
                self._thread = threading.Thread(
                    target=self._run, args=(self._inspection,), name="mandrake-sessions-check"
                )
                self._thread.start()
        except (SessionsError, OSError) as error:
            self._try_later(error)

    def _is_due(self) -> bool:
        # What has taken the place of the file is looked at soon: it is not what was looked at before.
        is_another = self._store.is_unchecked and self._store.reconnects != self._reconnects
        return is_another or time.monotonic() >= self._due

    def _try_later(self, error: Exception) -> None:
        self._due = time.monotonic() + FAULTY_LOOK
        if not isinstance(error, Busy | StoreMoved | Cancelled) and self._failed != str(error):
            self._failed = str(error)
            logger.warning("the store could not be looked through, it will be tried again: %s", error)

    def end(self) -> None:
        """Interrupt it until its thread has ended: of its several statements, none may be running just now."""
        while self._thread is not None and self._inspection is not None and self._thread.is_alive():
            self._inspection.interrupt()
            self._thread.join(END_SECONDS)

    def _run(self, inspection: Inspection) -> None:
        begun = time.monotonic()
        try:
            faults = inspection.run()
        except SessionsError as error:
            self._try_later(error)
            return
        if faults:
            # Somebody may mend them.
            self._due = time.monotonic() + max(FAULTY_LOOK, LOOK_SHARE * (time.monotonic() - begun))
