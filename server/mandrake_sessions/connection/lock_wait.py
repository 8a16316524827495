"""Waiting for the lock of a store that another process holds, without sleeping in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from mandrake_sessions.connection.call import Call
from mandrake_sessions.errors import Busy
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.waiting import backoff

# How long after a try the lock counts as held, for those whose time is over meanwhile.
BUSY_SECONDS = 0.1


class LockWait:
    """Which call waits for the lock, and when it is tried again. ``busy``: what the last try said, if the lock was
    held. ``budget`` gives the seconds that a call may wait, from its arrival on; ``try_again`` is called when it is
    time for the next try."""

    def __init__(self, budget: Callable[[], float], try_again: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._budget = budget
        self._try_again = try_again
        self._blocked: Call | None = None
        self._retry_at = 0.0
        self.busy: Busy | None = None
        self._held_place: StorePlace | None = None
        self._delays: Iterator[float] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def keeps_back(self, call: Call) -> bool:
        """Whether it is too soon to try this call again."""
        return call is self._blocked and time.monotonic() < self._retry_at

    def late(self, call: Call) -> Busy | None:
        """The answer to a call that has waited for its whole budget, if the lock was held at the last try; so it is not
        tried once for each of the calls whose time is over."""
        if self.busy is None or call.place != self._held_place or call.waited < self._budget():
            return None
        if time.monotonic() - self._retry_at > BUSY_SECONDS:
            return None
        return own_busy(call, self.busy)

    def found_held(self, busy: Busy, place: StorePlace | None) -> None:
        """A try just now has failed, of a call to the store at ``place``."""
        self.busy, self._held_place = busy, place
        self._retry_at = time.monotonic()

    def wait(self, call: Call) -> None:
        """Try this call again after a while."""
        budget = self._budget()
        if self._delays is None:
            self._delays = backoff(budget)
        delay = next(self._delays, 0.0)
        if delay == 0.0:
            self._delays = None
        delay = min(delay, budget - call.waited)
        self._blocked, self._retry_at = call, time.monotonic() + delay
        self.close()
        self._timer = self._loop.call_later(delay, self._time_is_over)

    def over(self) -> None:
        """The lock was not held at the last try."""
        self._blocked = self.busy = self._delays = None

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_over(self) -> None:
        self._retry_at = 0.0
        self._try_again()


def own_busy(call: Call, busy: Busy) -> Busy:
    """Give each waiting call its own ``Busy`` with its own waiting time."""
    return Busy(busy.path, round(call.waited * 1000), busy.holder)
