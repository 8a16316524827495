"""Which runners the work of each store has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from weakref import WeakKeyDictionary

from attrs import frozen

from mandrake_sessions.connection.runner import LoopRunner, Runner, ThreadRunner
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.value import Value


@frozen(eq=False, repr=False)
class CallRunners(Value):
    """For the calls about a store: ``calls`` carries out groups of them, in order. ``thread`` is for what may take long
    in any store: writes of large values, idle work, closing. Where the store runs on a thread, both are the same."""

    calls: Runner
    thread: ThreadRunner


class Runners:
    """All stores that run on the loop share their runners. Each that runs on a thread has two of its own: one for its
    calls, and one that follows it (``following``), so that subscriptions and health do not wait behind its writes.
    ``on_done`` is called when a thread has finished something."""

    def __init__(self, stores: OpenStores, on_done: Callable[[], None]) -> None:
        self._stores = stores
        self._on_done = on_done
        self._loop_runner = LoopRunner()
        self.shared = CallRunners(self._loop_runner, ThreadRunner("write", on_done))
        # Fills the search indexes, whatever stores they are of.
        self.search = ThreadRunner("search", on_done)
        self._of_places: dict[StorePlace, CallRunners] = {}
        self._following: WeakKeyDictionary[SessionManager, ThreadRunner] = WeakKeyDictionary()

    def of(self, place: StorePlace) -> CallRunners:
        found = self._of_places.get(place)
        if found is None:
            found = self._of_places[place] = self._make(place)
        return found

    def following(self, manager: SessionManager) -> Runner:
        """For reading its feed and its health beside its calls."""
        if manager.store.runs_on == "loop":
            return self._loop_runner
        found = self._following.get(manager)
        if found is None:
            found = self._following[manager] = ThreadRunner("follow", self._on_done)
        return found

    def close(self) -> None:
        runners: Iterable[CallRunners] = (self.shared, *self._of_places.values())
        for runner in chain((runner.thread for runner in runners), self._following.values(), (self.search,)):
            runner.close()

    def _make(self, place: StorePlace) -> CallRunners:
        if self._stores.runs_on(place) == "loop":
            return self.shared
        thread = ThreadRunner("store", self._on_done)
        return CallRunners(thread, thread)
