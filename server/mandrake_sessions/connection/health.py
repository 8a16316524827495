"""How the stores are: looked at now and then and when something fails, and told when it changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from mandrake_sessions.connection.jsonrpc import notification_message
from mandrake_sessions.connection.stores import StorePlace, Stores
from mandrake_sessions.errors import Busy, SessionsError, StorageFailure, StorageReason, StoreError, Unreadable
from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.manager import Pin, SessionManager
from mandrake_sessions.operations.health import StoreState, build_warnings, file_warnings, free_bytes
from mandrake_sessions.protocol.converter import unstructure
from mandrake_sessions.protocol.results import Health, StoreHealth

logger = logging.getLogger(__name__)

# A large file is looked through whole a while after it was opened, and then seldom.
FIRST_LOOK_THROUGH, NEXT_LOOK_THROUGH = 2.0, 6 * 3600.0
_SEVERITY = ("ok", "degraded", "down")
# What passes, or leaves reading possible; everything else is down.
_DEGRADED = frozenset({StorageReason.FULL, StorageReason.READ_ONLY, StorageReason.IO})


class HealthMonitor:
    """Knows what was told last, and tells what has changed with ``send``."""

    def __init__(self, stores: Stores, send: Callable[[dict[str, Any]], None]) -> None:
        self._stores = stores
        self._send = send
        self._told: dict[StorePlace, tuple[str, int]] = {}
        self._failures: list[StoreError | None] = []
        # Whether nothing was wrong with any store when they were looked at last.
        self.all_is_well = True
        self._warned: set[str] = set()
        self._searches: dict[SessionManager, _Search] = {}

    def health(self) -> Health:
        """As it is now."""
        return _health(self._stores.known())

    def notice(self) -> None:
        """Look if something failed, or works again, since the last time."""
        failures = self._stores.failures()
        if failures != self._failures:
            self._failures = failures
            self.look()

    def look(self) -> None:
        """Check every store, and tell the client if one of them is another way than it was told. While one is opened
        anew nothing is known yet."""
        if self._stores.returned_places() or not all(store.is_in_place for _, store in self._stores.open_stores()):
            return
        # Asked for once: another thread may open one more meanwhile.
        known = self._stores.known()
        health = _health(known)
        self.all_is_well = health.status == "ok"
        now = {}
        for place, store in zip(known, health.stores, strict=True):
            now[place] = (store.status, store.reconnects)
            self._warn_of_change(store, self._told.get(place, ("ok", 0))[0])
            self._warn(store)
        if any(now[place] != self._told.get(place, ("ok", 0)) for place in now):
            self._told = now
            self._send(notification_message("server/healthChanged", unstructure(health)))

    def look_through(self) -> None:
        """Begin to look through large files, where it is time for that; it happens on threads."""
        for _, manager in self._stores.open_stores():
            if manager not in self._searches:
                self._searches[manager] = _Search(manager)
            self._searches[manager].begin_if_due()

    def close(self) -> None:
        for search in self._searches.values():
            search.end()

    def _warn_of_change(self, store: StoreHealth, before: str) -> None:
        """For whoever reads the log, and for clients that know LSP alone: they are shown warnings."""
        if store.status == "ok":
            if before != "ok":
                logger.warning("%s: the store is ok again", store.path)
        elif store.status != before:
            # What cannot be read of it is a warning of its own.
            why = "" if store.last_error in (None, *store.warnings) else f": {store.last_error}"
            logger.warning("%s: the store is %s%s", store.path, store.status, why)

    def _warn(self, store: StoreHealth) -> None:
        known = self._warned.union(build_warnings())
        for warning in [warning for warning in store.warnings if warning not in known]:
            self._warned.add(warning)
            logger.warning("%s: %s", store.path, warning)


class _Search:
    """The looking through of one large file, from a snapshot, on a thread."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._due = time.monotonic() + FIRST_LOOK_THROUGH
        self._pin: Pin | None = None
        self._thread: threading.Thread | None = None

    def begin_if_due(self) -> None:
        if time.monotonic() < self._due or (self._thread is not None and self._thread.is_alive()):
            return
        self._due = time.monotonic() + NEXT_LOOK_THROUGH
        try:
            if self._manager.needs_looking_through:
                self._pin = self._manager.pin(wait=False)
                self._thread = threading.Thread(target=self._run, args=(self._pin,), name="mandrake-sessions-check")
                self._thread.start()
        except (SessionsError, OSError) as error:
            logger.warning("the store could not be looked through for damage: %s", error)

    def end(self) -> None:
        if self._thread is not None and self._pin is not None:
            self._pin.interrupt()
            self._thread.join()

    def _run(self, pin: Pin) -> None:
        try:
            self._manager.look_through(pin)
        except SessionsError as error:
            logger.info("the store was not looked through for damage: %s", error)


def _health(known: Mapping[StorePlace, SessionManager | StoreError | None]) -> Health:
    stores = [_store_health(place, found) for place, found in known.items()]
    return Health(max((store.status for store in stores), key=_SEVERITY.index, default="ok"), stores)


def _store_health(place: StorePlace, found: SessionManager | StoreError | None) -> StoreHealth:
    """A store as it answers now. One that nobody has opened yet is well."""
    begun = time.perf_counter()
    error: SessionsError | None = found if isinstance(found, StoreError) else None
    store_id = state = None
    odd: list[Unreadable] = []
    if isinstance(found, SessionManager):
        try:
            store_id = found.check()
        except SessionsError as failed:
            error = failed
        state, error = _state(found, error)
        odd = _unreadable(found)
        error = error or next(iter(odd), None)
    took_ms = (time.perf_counter() - begun) * 1000
    schema_version = None if state is None else state.schema_version
    return StoreHealth(
        scope=place.scope,
        workspace=place.workspace,
        path=place.path,
        store_id=store_id,
        open=state is not None,
        status=_status(error),
        schema_version=schema_version,
        ref_count=0 if state is None else state.references,
        last_check_at=now_ms(),
        last_check_ms=round(took_ms, 3),
        wal_bytes=file_size(place.path + "-wal"),
        db_bytes=file_size(place.path),
        free_bytes=free_bytes(place.path),
        reconnects=0 if state is None else state.reconnects,
        busy_retries=0 if state is None else state.busy_retries,
        last_error=None if error is None else str(error),
        warnings=_warnings(place, state) + [str(unreadable) for unreadable in odd],
    )


def _unreadable(manager: SessionManager) -> list[Unreadable]:
    try:
        return manager.unreadable()
    except SessionsError:
        # What is wrong with the store as a whole is told already.
        return []


def _state(manager: SessionManager, error: SessionsError | None) -> tuple[StoreState | None, SessionsError | None]:
    """What is known of an open store, and the worst of what is wrong with it."""
    try:
        state = manager.state()
    except SessionsError as closed:
        return None, error or closed
    return state, state.failure or error


def _status(error: SessionsError | None) -> str:
    if error is None:
        return "ok"
    passing = isinstance(error, Busy | Unreadable) or (isinstance(error, StorageFailure) and error.reason in _DEGRADED)
    return "degraded" if passing else "down"


def _warnings(place: StorePlace, state: StoreState | None) -> list[str]:
    if state is None:
        return build_warnings()
    found = file_warnings(place.path, state.schema_version, own_directory=place.is_usual)
    if state.replacements:
        found.append(
            f"the file was deleted, replaced or moved while it was open, {state.replacements} times; "
            "what was stored before that is in the file that went"
        )
    return build_warnings() + found
