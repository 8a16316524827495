"""Order: what arrives is carried out in turn, a slice of time after the other, and the answers are sent.

Calls about stores that run on the event loop share one queue; each store that runs on a thread has its own (``lane``).
Methods about the server itself, cancellation and LSP's life cycle do not come here; they never wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from mandrake_sessions.connection.answering import method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.health_monitor import HealthMonitor
from mandrake_sessions.connection.lane import Lane
from mandrake_sessions.connection.lane_context import LaneContext
from mandrake_sessions.connection.opener import Opener
from mandrake_sessions.connection.other_stores import OtherStores
from mandrake_sessions.connection.registrar import Registrar
from mandrake_sessions.connection.runners import Runners
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.protocol.methods import Access
from mandrake_sessions.protocol.store_params import check_reach, store_name
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.outbound import Outbound

# So long calls are carried out before the event loop has its turn.
SLICE_SECONDS = 0.01


class Dispatcher:
    """The calls of one connection. ``on_idle`` is called whenever all that was received is answered."""

    def __init__(
        self,
        stores: OpenStores,
        subscriptions: ConnectionSubscriptions,
        runners: Runners,
        outbound: Outbound,
        monitor: HealthMonitor,
        registrar: Registrar,
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stores = stores
        self._subscriptions = subscriptions
        self._outbound = outbound
        self._monitor = monitor
        self._on_idle = on_idle
        self._runners = runners
        self.opener = Opener(stores, subscriptions, self._runners, self._cannot_open, self.run)
        self._context = LaneContext(
            stores, subscriptions, self.opener, OtherStores(stores, subscriptions, registrar), self.run
        )
        self._loop_lane = Lane(self._context, self._runners.shared)
        self._lanes: dict[StorePlace, Lane] = {}
        # Those of the stores that run on threads come first: their steps are short.
        self._every: list[Lane] = [self._loop_lane]
        self._abandoned = False
        self._next: asyncio.Handle | None = None

    def submit(self, call: Call) -> None:
        """Queue a call; ``run`` carries it out, on the store that its params mean now."""
        lane = self._loop_lane
        try:
            place = call.place = self._place(call)
            if place is not None:
                lane = self._lanes.get(place) or self._lane(place)
        except Exception as error:
            call.failed = error
        lane.queue.add(call)

    @property
    def has_answered(self) -> bool:
        """Whether nothing waits for an answer that could still be given in time."""
        for lane in self._every:
            if lane.queue or not (self._abandoned or lane.is_idle):
                return False
        return not self.is_writing if self._abandoned else not self.opener.opening

    @property
    def is_writing(self) -> bool:
        """Whether a write is carried out on a thread, whose outcome nobody knows before its end."""
        return any(lane.is_writing for lane in self._every)

    def needs(self, place: StorePlace) -> bool:
        """Whether something that came before still needs this store open."""
        return place in self.opener.opening or any(lane.needs(place) for lane in self._every)

    def run(self) -> None:
        """Carry out what can be now, in order, for one slice of time, and send the answers."""
        until = time.monotonic() + SLICE_SECONDS
        for lane in self._every:
            while lane.queue and (self._abandoned or not self._outbound.is_full) and lane.step():
                if time.monotonic() >= until:
                    self._run_soon()
                    break
        self._subscriptions.pump()
        context = self._context
        if context.is_suspicious or not self._monitor.all_is_well:
            context.is_suspicious = False
            self._monitor.notice()
        self._outbound.flush()
        if self.has_answered:
            self._on_idle()

    def cancel(self, message_id: Any) -> None:
        """End a request that waits or reads; one that is done, or unknown, is let be."""
        for lane in self._every:
            if lane.cancel(message_id):
                return

    def abandon(self) -> None:
        """Answer all that still waits, and what still comes, with ``cancelled``: the server has to end now."""
        self._abandoned = True
        for lane in self._every:
            lane.abandon()
        self.run()

    def close(self) -> None:
        for lane in self._every:
            lane.close()
        self.opener.close()
        self._runners.close()

    def _place(self, call: Call) -> StorePlace | None:
        """The place of the store that a call is about; None for one that ``asks_others``."""
        if method_of(call).access is not Access.STORES:
            name = store_name(call.params, method_of(call))
            if not name.is_any:
                return self._stores.places.place(name)
            check_reach(method_of(call), name)
        call.asks_others = True
        return None

    def _lane(self, place: StorePlace) -> Lane:
        runners = self._runners.of(place)
        lane = self._loop_lane
        if runners is not self._runners.shared:
            lane = Lane(self._context, runners)
            # A new list: this one may be in the middle of being gone through.
            self._every = [lane, *self._every]
        self._lanes[place] = lane
        return lane

    def _cannot_open(self, place: StorePlace, error: Exception) -> None:
        for lane in self._every:
            lane.fail_waiting(place, error)

    def _run_soon(self) -> None:
        """``run`` when the loop has had its turn."""
        if self._next is None:
            self._next = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next = None
        self.run()
