"""Watches the health of the stores: now and then and when something fails, and notifies the client of changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from mandrake_sessions.connection.conditions import Condition, Conditions, Found
from mandrake_sessions.connection.inspections import Inspections
from mandrake_sessions.errors import (
    Busy,
    SessionsError,
    StorageFailure,
    StorageReason,
    StoreError,
    Unreadable,
)
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.converter import unstructure
from mandrake_sessions.protocol.results import Health, HealthStatus, StoreHealth
from mandrake_sessions.protocol.words import WIRE_WORDS, in_wire_words
from mandrake_sessions.store.interface import StoreFacts, StoreState
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.jsonrpc import notification_message

logger = logging.getLogger(__name__)

# So many faults of a store are named; the doctor names them all.
MAX_FAULTS = 20
HOW_TO_MEND = f"run {WIRE_WORDS.mend}, which mends what can be after a backup"
_SEVERITY = ("ok", "degraded", "down")
# What passes, or leaves reading possible; everything else is down.
_DEGRADED = frozenset({StorageReason.FULL, StorageReason.READ_ONLY, StorageReason.IO})


class HealthMonitor:
    """Knows what was told last, and tells what has changed with ``send``."""

    def __init__(
        self,
        stores: OpenStores,
        conditions: Conditions,
        inspections: Inspections,
        send: Callable[[dict[str, Any]], None],
    ) -> None:
        self._stores = stores
        self._conditions = conditions
        self._inspections = inspections
        self._send = send
        self._told: dict[StorePlace, tuple[HealthStatus, int]] = {}
        self._failures: list[StoreError | None] = []
        # Whether nothing was wrong with any store when they were looked at last.
        self.all_is_well = True
        self._warned: set[str] = set()
        self._is_closed = False

    def health(self) -> Health:
        """As it is now."""
        return self._health(self._stores.known())

    def notice(self) -> None:
        """Look if something failed, or works again, since the last time."""
        failures = self._stores.failures()
        if failures != self._failures:
            self._failures = failures
            self.look()

    def look(self) -> None:
        """Check every store, and tell the client if one of them is another way than it was told. While one is opened
        again nothing is known yet."""
        if (
            self._is_closed
            or self._stores.returned_places()
            or not all(manager.store.is_current for _, manager in self._stores.open_stores())
        ):
            return
        self._conditions.renew(self._tell_changes)

    def _tell_changes(self) -> None:
        # Asked for once: another thread may open one more meanwhile.
        known = self._stores.known()
        health = self._health(known)
        self.all_is_well = health.status == "ok"
        now: dict[StorePlace, tuple[HealthStatus, int]] = {}
        for place, store in zip(known, health.stores, strict=True):
            now[place] = (store.status, store.reconnects)
            self._warn_of_change(store, self._told.get(place, ("ok", 0))[0])
            self._warn(place, known[place], store)
        if any(now[place] != self._told.get(place, ("ok", 0)) for place in now):
            self._told = now
            self._send(notification_message("server/healthChanged", unstructure(health)))

    def opened(self, place: StorePlace, manager: SessionManager) -> None:
        """A store was opened; called on the thread that has opened it."""
        self._conditions.learn(place, manager)

    def inspect(self) -> None:
        """Begin to look through large stores, where it is time for that; it happens on threads."""
        self._inspections.begin_due()

    def close(self) -> None:
        """Tell nothing any more: stores that are closed would look as if all were well with them."""
        self._is_closed = True
        self._inspections.close()

    def _health(self, known: Mapping[StorePlace, Found]) -> Health:
        stores = [_store_health(place, found, self._conditions.of(place, found)) for place, found in known.items()]
        return Health(max((store.status for store in stores), key=_SEVERITY.index, default="ok"), stores)

    def _warn_of_change(self, store: StoreHealth, before: str) -> None:
        """For whoever reads the log, and for clients that know LSP alone: they are shown warnings."""
        if store.status == "ok":
            if before != "ok":
                logger.warning("%s: the store is ok again", store.path)
        elif store.status != before:
            # What cannot be read of it is a warning of its own.
            why = "" if store.last_error in (None, *store.warnings) else f": {store.last_error}"
            logger.warning("%s: the store is %s%s", store.path, store.status, why)

    def _warn(self, place: StorePlace, found: Found, store: StoreHealth) -> None:
        """Of each thing once. What cannot be read was logged when it was met."""
        manager = self._stores.opened(place)
        known = self._warned.union(
            self._conditions.facts(place, found).of_program,
            () if manager is None else map(in_wire_words, manager.store.known_unreadable()),
        )
        for warning in [warning for warning in store.warnings if warning not in known]:
            self._warned.add(warning)
            logger.warning("%s: %s", store.path, warning)


def _store_health(place: StorePlace, found: Found, condition: Condition) -> StoreHealth:
    """One that nobody has opened yet is well."""
    error, odd, facts = condition.error, condition.unreadable, condition.facts
    state: StoreState | None = None
    if isinstance(found, SessionManager):
        state, error = _state(found, error)
        error = error or next(iter(odd), None)
    faults = [] if state is None else _faults(state)
    return StoreHealth(
        scope=place.scope,
        workspace=place.workspace,
        path=place.path,
        store_id=condition.store_id,
        open=state is not None,
        status=_status(error) if error is not None or not faults else "degraded",
        schema_version=None if state is None else state.schema_version,
        ref_count=0 if state is None else state.references,
        last_check_at=condition.checked_at,
        last_check_ms=round(condition.took_ms, 3),
        wal_bytes=facts.wal_bytes,
        db_bytes=facts.db_bytes,
        free_bytes=facts.free_bytes,
        reconnects=0 if state is None else state.reconnects,
        busy_retries=0 if state is None else state.busy_retries,
        last_error=next(iter(faults), None) if error is None else in_wire_words(error),
        warnings=_warnings(facts, state) + faults + [in_wire_words(unreadable) for unreadable in odd],
    )


def _state(manager: SessionManager, error: SessionsError | None) -> tuple[StoreState | None, SessionsError | None]:
    """What is known of an open store, and the worst of what is wrong with it."""
    try:
        state = manager.store.state()
    except SessionsError as closed:
        return None, error or closed
    return state, state.failure or error


def _faults(state: StoreState) -> list[str]:
    more = len(state.faults) - MAX_FAULTS
    named = state.faults[:MAX_FAULTS] + ([f"{more} problems more"] if more > 0 else [])
    return [f"this store replaced another and fails the deep check: {fault}; {HOW_TO_MEND}" for fault in named]


def _status(error: SessionsError | None) -> HealthStatus:
    if error is None:
        return "ok"
    passing = isinstance(error, Busy | Unreadable) or (isinstance(error, StorageFailure) and error.reason in _DEGRADED)
    return "degraded" if passing else "down"


def _warnings(facts: StoreFacts, state: StoreState | None) -> list[str]:
    found = facts.of_program + facts.warnings
    if state is not None and state.replacements:
        found.append(
            f"the store was deleted, replaced or moved while it was open, {state.replacements} times; "
            "earlier writes are in the previous one"
        )
    return found
