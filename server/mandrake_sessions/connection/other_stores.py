"""Reads about stores that need not be open here: all of them at once, or one that is named by its ``storeId``.

They go on beside other calls, on threads. A store that is open here is read from a snapshot that is taken in the call's
turn; every other one is visited, for as long as the read takes.
"""

from __future__ import annotations

from contextlib import suppress

from mandrake_sessions.connection.answering import method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.reads import OtherRead, Pinned
from mandrake_sessions.connection.registrar import Registrar
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.errors import SessionsError, StorageFailure, StoreError
from mandrake_sessions.late_import import late_import
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.store_params import store_name
from mandrake_sessions.store_names import DEFAULT_STORE, StoreName
from mandrake_sessions.store_places import OpenStore, StorePlace
from mandrake_sessions.transport.spool import Encoded


class _NoRead:
    """A read that cannot begin."""

    def __init__(self, failure: StorageFailure) -> None:
        self._failure = failure

    def read(self) -> Encoded:
        raise self._failure

    def may_see(self, path: str) -> bool:  # noqa: ARG002
        return False

    def interrupt(self) -> None:
        """It has ended already."""

    def release(self) -> None:
        """It holds nothing."""


class OtherStores:
    """``reading`` begins one, in the call's turn."""

    def __init__(self, stores: OpenStores, subscriptions: ConnectionSubscriptions, registrar: Registrar) -> None:
        self._stores = stores
        self._subscriptions = subscriptions
        self._registrar = registrar

    def place_of(self, call: Call) -> StorePlace | None:
        """The place of the store that the call names by its id, where that is open here."""
        method = method_of(call)
        wanted = store_name(call.params, method).store_id if method.takes_store else None
        if wanted is None:
            return None
        return next((store.place for store in self._registrar.open_here() if store.store_id == wanted), None)

    def reading(self, call: Call) -> OtherRead:
        """Raises nothing: a store whose snapshot cannot be had now is visited as one that is not open."""
        try:
            # Few calls need them.
            with late_import():
                from mandrake_sessions.connection.other_reads import ReadOfAll, ReadOfOne
        except StorageFailure as failure:
            return _NoRead(failure)
        method = method_of(call)
        name = store_name(call.params, method) if method.takes_store else DEFAULT_STORE
        open_here = self._registrar.open_here()
        if name.store_id is not None:
            busy_timeout = self._stores.settings.busy_timeout
            return ReadOfOne(call, name.store_id, open_here, self._places(), busy_timeout)
        pinned = [] if not name.is_all else [pin for store in open_here if (pin := self._pin(store)) is not None]
        return ReadOfAll(call, pinned, open_here, self._places())

    def _pin(self, store: OpenStore) -> Pinned | None:
        manager = self._stores.opened(store.place)
        if manager is None:
            return None
        try:
            snapshot = manager.snapshot(wait=False)
        except StoreError:
            return None
        with suppress(SessionsError):
            self._subscriptions.was_given(manager, snapshot.last_seq())
        return Pinned(store, manager, snapshot)

    def _places(self) -> list[StorePlace]:
        """The places that count as used where there is a store: the default workspace's, and the user's own."""
        found = []
        for name in (DEFAULT_STORE, StoreName("system")):
            with suppress(SessionsError):
                found.append(self._stores.places.place(name))
        return found
