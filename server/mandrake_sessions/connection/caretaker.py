"""Background work on stores: reopening, idle tasks, health, closing.

Stores that moved or failed are opened again (``opener``), idle work is done (``idle_work``), the health is looked at
(``health_monitor``), and the stores of folders that went are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mandrake_sessions.connection.dispatcher import Dispatcher
from mandrake_sessions.connection.health_monitor import HealthMonitor
from mandrake_sessions.connection.idle_work import IdleWork
from mandrake_sessions.connection.preloading import preload
from mandrake_sessions.connection.registrar import Registrar
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.outbound import Outbound

HEALTH_SECONDS = 1.0
SHORTEST_LEASE_LOOK = 0.05
# When the server has been running for so long, what few calls need is loaded too.
PRELOAD_SECONDS = 1.0
# The search indexes are looked at for the first time after so long.
SEARCH_SECONDS = 0.2
# When the input has ended, they are filled for so long.
LAST_SEARCH_SECONDS = 0.25
# A folder that goes and comes again within so long keeps its store open: a burst need not be read in one go. How often
# it is tried again while something that came before still needs the store.
CLOSE_SECONDS = 0.275
CLOSE_AGAIN_SECONDS = 0.02


class Caretaker:
    """Takes care of the stores of one connection, from ``begin`` on."""

    def __init__(
        self,
        stores: OpenStores,
        subscriptions: ConnectionSubscriptions,
        runners: Runners,
        outbound: Outbound,
        monitor: HealthMonitor,
        dispatcher: Dispatcher,
        registrar: Registrar,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stores = stores
        self._subscriptions = subscriptions
        self._runners = runners
        self._outbound = outbound
        self._monitor = monitor
        self._dispatcher = dispatcher
        self._registrar = registrar
        self._idle_work = IdleWork(stores, runners, self._news)
        self._unused: set[StorePlace] = set()
        self._close_timer: asyncio.TimerHandle | None = None
        self._is_ending = False
        dispatcher.opener.on_opened = self._opened

    def begin(self) -> None:
        self._interrupt_orphans()
        self._keep_house()
        self._loop.call_later(SEARCH_SECONDS, self._fill_search)
        self._loop.call_later(PRELOAD_SECONDS, self._runners.search.run, preload, lambda _: None)
        self._look_after_stores()

    def end(self) -> None:
        """The server ends: stores are neither opened nor looked at any more."""
        self._is_ending = True

    async def fill_search_at_end(self, is_wanted: Callable[[], bool]) -> None:
        """What the client has written becomes searchable, as far as that takes a moment: where each client is a short
        script, there is no other server that does it."""
        await self._idle_work.fill_search_at_end(LAST_SEARCH_SECONDS, is_wanted)

    def close_unused(self, places: list[StorePlace]) -> None:
        """Close these stores, and no others, after what was submitted before and a moment: one whose folder comes back
        soon, as where a client sends all its folders again, stays open."""
        self._unused = set(places)
        self._close_after(CLOSE_SECONDS)

    def _close_after(self, seconds: float) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._close_timer = self._loop.call_later(seconds, self._try_to_close)

    def _try_to_close(self) -> None:
        """Close the stores whose folders went, unless something that came before still needs them."""
        for place in [place for place in self._unused if not self._dispatcher.needs(place)]:
            self._unused.discard(place)
            self._subscriptions.begin(self._stores.take_absent(place), None)
            manager = self._stores.forget(place)
            if manager is not None:
                self._subscriptions.close_for(manager)
                # It may wait for others who close the file too.
                self._runners.of(place).thread.run(manager.close, lambda _: None)
        if self._unused:
            self._close_after(CLOSE_AGAIN_SECONDS)
        self._dispatcher.run()

    def _interrupt_orphans(self) -> None:
        """Mark the turns of processes that are gone, twice within the time that is promised."""
        pause = max(self._stores.settings.lease_seconds / 2, SHORTEST_LEASE_LOOK)
        self._loop.call_later(pause, self._interrupt_orphans)
        self._idle_work.interrupt_orphans()

    def _keep_house(self) -> None:
        """Idle work on the stores, a short step at a time."""

        def again(pause: float) -> None:
            self._loop.call_later(pause, self._keep_house)

        self._idle_work.keep_house(again)

    def _fill_search(self) -> None:
        """What has been said becomes searchable, a short step at a time."""

        def again(pause: float) -> None:
            self._loop.call_later(pause, self._fill_search)

        self._idle_work.fill_search(again)

    def _look_after_stores(self) -> None:
        """Notice what other programs do to the files, and tell the client."""
        self._loop.call_later(HEALTH_SECONDS, self._look_after_stores)
        if self._is_ending:
            return
        self._dispatcher.opener.look_after_files()
        self._monitor.look()
        self._monitor.inspect()
        self._registrar.look()
        self._outbound.flush()

    def _opened(self, place: StorePlace, manager: SessionManager) -> None:
        """Called on the thread that has opened it."""
        self._idle_work.opened(manager)
        self._monitor.opened(place, manager)
        self._registrar.opened()

    def _news(self) -> None:
        """Something was committed beside the calls."""
        self._subscriptions.pump(look=True)
        self._outbound.flush()
