"""How each store is: what it answers when it is asked, which takes a round trip."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from attrs import frozen

from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.errors import SessionsError, StoreError, Unreadable
from mandrake_sessions.ids import now_ms
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store.interface import StoreFacts
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.value import Value

# What a store is in whose place there is nothing open: its manager, why it could not be opened, or that nobody tried.
Found = SessionManager | StoreError | None


@frozen(eq=False, repr=False)
class Condition(Value):
    """``checked_at``: when the store was asked; ``took_ms``: how long its answer took. ``error``: why it gave none."""

    store_id: str | None
    error: SessionsError | None
    unreadable: list[Unreadable]
    facts: StoreFacts
    checked_at: int
    took_ms: float


class Conditions:
    """A store that runs on the loop is asked whenever its condition is wanted. Of one that runs on a thread the last
    answer is given, and ``renew`` asks it beside everything else."""

    def __init__(self, stores: OpenStores, runners: Runners) -> None:
        self._stores = stores
        self._runners = runners
        self._known: dict[StorePlace, Condition] = {}

    def of(self, place: StorePlace, found: Found) -> Condition:
        known = self._known.get(place)
        if known is not None and _is_remote(found):
            return known
        return self._ask(place, found)

    def facts(self, place: StorePlace, found: Found) -> StoreFacts:
        """The part of the condition for which an open store need not be read."""
        known = self._known.get(place)
        return known.facts if known is not None and _is_remote(found) else self._stores.facts(place)

    def store_id(self, place: StorePlace, found: Found) -> str | None:
        """The ``storeId`` of an open store, where it can be read."""
        if not isinstance(found, SessionManager):
            return None
        known = self._known.get(place)
        if known is not None and _is_remote(found):
            return known.store_id
        try:
            return found.store.check()
        except SessionsError:
            return None

    def learn(self, place: StorePlace, manager: SessionManager) -> None:
        """Ask a store that was just opened, on the thread that has opened it."""
        if _is_remote(manager):
            self._known[place] = self._ask(place, manager)

    def renew(self, then: Callable[[], None]) -> None:
        """Ask the stores that run on threads; ``then`` is called once they have answered, at once where there are
        none."""
        remote = [(place, manager) for place, manager in self._stores.open_stores() if _is_remote(manager)]
        if not remote:
            then()
            return
        missing = set(remote)

        def answered(asked: tuple[StorePlace, SessionManager], _: object) -> None:
            missing.discard(asked)
            if not missing:
                then()

        for place, manager in remote:
            learn = partial(self.learn, place, manager)
            self._runners.following(manager).run(learn, partial(answered, (place, manager)))

    def _ask(self, place: StorePlace, found: Found) -> Condition:
        begun = time.perf_counter()
        store_id: str | None = None
        error: SessionsError | None = found if isinstance(found, StoreError) else None
        unreadable: list[Unreadable] = []
        if isinstance(found, SessionManager):
            try:
                store_id = found.store.check()
            except SessionsError as failed:
                error = failed
            unreadable = _unreadable(found)
        took_ms = (time.perf_counter() - begun) * 1000
        return Condition(store_id, error, unreadable, self._stores.facts(place), now_ms(), took_ms)


def _is_remote(found: Found) -> bool:
    return isinstance(found, SessionManager) and found.store.runs_on == "thread"


def _unreadable(manager: SessionManager) -> list[Unreadable]:
    try:
        return manager.store.unreadable()
    except SessionsError:
        # What is wrong with the store as a whole is told already.
        return []
