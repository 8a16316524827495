"""Opening stores, and opening them again, on threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.connection.runner import Runner, ThreadRunner
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import StorePlace


class Opener:
    """``on_failed`` is called for a store that cannot be opened, ``on_done`` after each try. ``on_opened`` is called on
    the thread that has opened a store. ``opening``: those that are being opened now."""

    def __init__(
        self,
        stores: OpenStores,
        subscriptions: ConnectionSubscriptions,
        runners: Runners,
        on_failed: Callable[[StorePlace, Exception], None],
        on_done: Callable[[], None],
    ) -> None:
        self.on_opened: Callable[[StorePlace, SessionManager], None] = lambda *_: None
        self._stores = stores
        self._subscriptions = subscriptions
        self._runners = runners
        self._on_failed = on_failed
        self._thread = ThreadRunner("open", on_done)
        self.opening: set[StorePlace] = set()
        subscriptions.awaited.on_created = self._created

    def open(self, place: StorePlace, *, make: bool = False) -> None:
        """Open a store. Where it is not there, it is made only with ``make``."""
        if place in self.opening:
            return
        self.opening.add(place)
        manager = self._stores.opened(place)
        if manager is not None:
            self._subscriptions.detach(manager)
        self._runner(place).run(partial(self._open, place, manager, make), partial(self._opened, place))

    def look_after_files(self) -> None:
        """Open stores again that are no longer where they were, and try those again that could not be opened."""
        self._subscriptions.reopened()
        for place, manager in self._stores.open_stores():
            if not manager.store.is_current:
                self.open(place)
        for place in (*self._stores.failed_places(), *self._stores.returned_places()):
            self.open(place)

    def close(self) -> None:
        self._thread.close()

    def _runner(self, place: StorePlace) -> Runner:
        """A store that runs on a thread is opened there: however long that takes, others are opened meanwhile."""
        runners = self._runners.of(place)
        return self._thread if runners is self._runners.shared else runners.thread

    def _open(self, place: StorePlace, open_now: SessionManager | None, make: bool) -> SessionManager | None:
        if open_now is not None:
            # What looks at it is closed before it is opened again.
            self._runners.following(open_now).settle()
        manager = self._stores.open(place, make=make)
        if manager is not None:
            self.on_opened(place, manager)
        return manager

    def _opened(self, place: StorePlace, outcome: SessionManager | Exception | None) -> None:
        """The subscriptions of a store that is gone end. Those that waited for it to be made begin, or go on waiting
        where it could not be made."""
        self.opening.discard(place)
        error = outcome if isinstance(outcome, Exception) else None
        manager = None if isinstance(outcome, Exception) else outcome
        self._subscriptions.reopened()
        if manager is None:
            self._subscriptions.close_for(self._stores.once_opened(place))
        if manager is not None or (error is not None and not self._stores.is_absent(place)):
            self._subscriptions.begin(self._stores.take_absent(place), manager)
        if error is not None:
            self._on_failed(place, error)

    def _created(self, absent: AbsentStore) -> None:
        """A store has been created that subscriptions wait for."""
        place = self._stores.place_of(absent)
        if place is not None:
            self.open(place)
