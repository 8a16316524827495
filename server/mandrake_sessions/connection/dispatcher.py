"""Order: what arrives is carried out in turn, writes that wait together in one transaction.

Everything here runs on the event loop's thread. It never sleeps in SQLite: a lock that is held elsewhere is tried
again by a timer, files are opened and long reads read by threads. Methods about the server itself, cancellation and
LSP's life cycle do not come here; they never wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.health import HealthMonitor
from mandrake_sessions.connection.outbound import Outbound
from mandrake_sessions.connection.spool import Encoded
from mandrake_sessions.connection.stores import StorePlace, Stores
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.errors import (
    Busy,
    Cancelled,
    FileMoved,
    SessionsError,
    StoreError,
    WriteNeeded,
)
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import StoreContext, SubscriptionContext
from mandrake_sessions.manager import Housekeeper, Pin, SessionManager
from mandrake_sessions.model import Appended
from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.methods import Access, Method
from mandrake_sessions.protocol.stores import own_params, store_name
from mandrake_sessions.waiting import backoff

logger = logging.getLogger(__name__)

# A group of writes shares one BEGIN IMMEDIATE and one COMMIT; its bound bounds how long the lock is held.
MAX_GROUP = 256
# So many bytes of answers end a group too: they are held until its COMMIT.
GROUP_BYTES = 1024 * 1024
# One reader connection is left for what the loop itself reads.
MAX_LONG_READS = 3
# How often idle work is looked for where none is known to be due.
HOUSE_SECONDS = 1.0
BUSY_HOUSE_SECONDS = 0.1


class Dispatcher:
    """The queue of one connection. ``on_idle`` is called whenever all that was received is answered."""

    def __init__(
        self,
        stores: Stores,
        subscriptions: ConnectionSubscriptions,
        outbound: Outbound,
        monitor: HealthMonitor,
        on_idle: Callable[[], None],
    ) -> None:
        self._stores = stores
        self._subscriptions = subscriptions
        self._outbound = outbound
        self._monitor = monitor
        self._on_idle = on_idle
        subscriptions.births.on_birth = self._born
        self._queue: deque[Call] = deque()
        self._executor = ThreadPoolExecutor(MAX_LONG_READS + 1, thread_name_prefix="mandrake-sessions-read")
        self._reading: dict[Call, Pin] = {}
        self._opening: StorePlace | None = None
        self._leaving: set[StorePlace] = set()
        self._housekeepers: WeakKeyDictionary[SessionManager, Housekeeper] = WeakKeyDictionary()
        # What idle work on a store failed with last; it is told once, not every second.
        self._house_failures: WeakKeyDictionary[SessionManager, str] = WeakKeyDictionary()
        self._suspicious = False
        self._delays: Iterator[float] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, call: Call) -> None:
        """Queue a call; ``run`` carries it out, on the store that its params mean now."""
        try:
            call.place = self._stores.place(store_name(call.params))
        except Exception as error:
            call.failed = error
        self._queue.append(call)

    def leave(self, places: list[StorePlace]) -> None:
        """Close these stores, after what was submitted before."""
        self._leaving.update(places)

    @property
    def is_idle(self) -> bool:
        return not self._queue and not self._reading and self._opening is None

    def run(self) -> None:
        """Carry out what can be now, in order, and send the answers."""
        while self._queue and not self._outbound.is_full and self._step():
            pass
        self._subscriptions.pump()
        self._close_left()
        if self._suspicious or not self._monitor.all_is_well:
            self._suspicious = False
            self._monitor.notice()
        self._outbound.flush()
        if self.is_idle:
            self._on_idle()

    def look_after_files(self) -> None:
        """Open anew what is no longer where it was, and try again what could not be opened."""
        self._subscriptions.reopened()
        for place, manager in self._stores.open_stores():
            if not manager.is_in_place:
                self._open(place)
        for place in (*self._stores.failed_places(), *self._stores.returned_places()):
            self._open(place)

    def interrupt_orphans(self) -> None:
        """Mark the turns of processes that are gone; what something is in the way of is left for the next time."""
        for manager in self._managers_in_place():
            try:
                found = manager.interrupt_orphans(wait=False)
            except (Busy, FileMoved):
                continue
            except SessionsError as error:
                logger.warning("turns of processes that are gone could not be looked for: %s", error)
                continue
            if found:
                self._subscriptions.pump(look=True)
                self._outbound.flush()

    def keep_house(self) -> float:
        """One short step of idle work on each store; gives the seconds until the next is due."""
        settings = self._stores.settings
        pauses = [HOUSE_SECONDS]
        for manager in self._managers_in_place():
            if manager not in self._housekeepers:
                found = manager.housekeeper(settings.feed_max_bytes, settings.feed_max_age)
                self._housekeepers[manager] = found
            try:
                pauses.append(self._housekeepers[manager].step(wait=False))
                self._house_failures.pop(manager, None)
            except (Busy, FileMoved):
                pauses.append(BUSY_HOUSE_SECONDS)
            except SessionsError as error:
                if self._house_failures.get(manager) != str(error):
                    self._house_failures[manager] = str(error)
                    logger.warning("idle work on a store failed, it will be tried again: %s", error)
        return min(pauses)

    def _managers_in_place(self) -> list[SessionManager]:
        """Those that need not be opened anew first, which takes a thread."""
        return [manager for _, manager in self._stores.open_stores() if manager.is_in_place]

    def cancel(self, message_id: Any) -> None:
        """End a request that waits or reads; one that is done, or unknown, is let be."""
        for call in self._queue:
            if call.is_request and call.id == message_id and type(call.id) is type(message_id):
                self._queue.remove(call)
                call.fail(Cancelled("the request was cancelled before it was carried out"))
                return
        for call, pin in self._reading.items():
            if call.is_request and call.id == message_id and not call.answered:
                call.fail(Cancelled("the request was cancelled while it read"))
                pin.interrupt()
                return

    def abandon(self) -> None:
        """Answer all that still waits with ``cancelled``: the server has to end now."""
        while self._queue:
            self._queue.popleft().fail(Cancelled("the server ends, and the request could not be carried out in time"))
        for call, pin in self._reading.items():
            call.fail(Cancelled("the server ends, and the request could not be carried out in time"))
            pin.interrupt()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._executor.shutdown(wait=True)

    def _step(self) -> bool:
        """Carry out the first call, or the group that begins with it; False if it has to wait."""
        call = self._queue[0]
        access = _access(call)
        if call.place is None:
            self._queue.popleft().fail(call.failed or RuntimeError("no store was found"))
            return True
        if access is Access.LEAVE:
            context = SubscriptionContext(self._subscriptions)
            self._answer(self._queue.popleft(), self._attempt(call, context))
            return True
        manager = self._stores.opened(call.place)
        if self._opening == call.place:
            # A transaction that began now would have what is closed on the other thread.
            return False
        if manager is None:
            return self._step_without_store(call, call.place)
        try:
            if not access.writes:
                return self._read(manager, access)
            self._write(manager, call.place)
        except Busy as error:
            return self._wait_for_lock(error)
        except FileMoved:
            self._open(call.place)
            return False
        self._delays = None
        return True

    def _step_without_store(self, call: Call, place: StorePlace) -> bool:
        """Open the store of the first call, or answer from an empty one where it is not there: reads make nothing, nor
        does a write that cannot succeed."""
        try:
            if self._stores.is_there(place):
                self._open(place)
                return False
            outcome = self._attempt(call, self._context(call, self._stores.absent(place)))
        except SessionsError as error:
            outcome = error
        except WriteNeeded:
            self._open(place, make=True)
            return False
        self._queue.popleft()
        self._answer(call, outcome)
        return True

    def _born(self, absent: AbsentStore) -> None:
        """Somebody has made a store that subscriptions wait for."""
        place = self._stores.place_of(absent)
        if place is not None:
            self._open(place)

    def _open(self, place: StorePlace, *, make: bool = False) -> None:
        """Open it on a thread; where it is not there, only with ``make`` is it made."""
        if self._opening is not None:
            return
        self._opening = place
        manager = self._stores.opened(place)
        if manager is not None:
            self._subscriptions.let_go(manager)
        loop = asyncio.get_running_loop()
        opened = self._executor.submit(self._stores.open, place, make=make)
        opened.add_done_callback(lambda done: loop.call_soon_threadsafe(self._opened, place, done))

    def _opened(self, place: StorePlace, opened: Future[SessionManager | None]) -> None:
        """The calls that wait for a store that cannot be opened are answered with why. The subscriptions of one that is
        gone end; those that waited for it to be made begin."""
        self._opening = None
        error = opened.exception()
        manager = opened.result() if error is None else None
        if manager is not None:
            self._housekeepers.pop(manager, None)
        self._subscriptions.reopened()
        if manager is None:
            self._subscriptions.leave(self._stores.once_opened(place))
        if manager is not None or error is not None:
            self._subscriptions.begin(self._stores.take_absent(place), manager)
        if error is not None:
            waiting = [call for call in self._queue if call.place == place and _access(call) is not Access.LEAVE]
            for call in waiting:
                self._queue.remove(call)
                self._fail(call, _as_seen_by(call, error))
        self.run()

    def _close_left(self) -> None:
        """Close the stores whose folders went, unless something that came before still needs them."""
        for place in [place for place in self._leaving if not self._is_needed(place)]:
            self._leaving.discard(place)
            self._subscriptions.begin(self._stores.take_absent(place), None)
            manager = self._stores.forget(place)
            if manager is not None:
                self._subscriptions.leave(manager)
                manager.close()

    def _is_needed(self, place: StorePlace) -> bool:
        return place == self._opening or any(call.place == place for call in (*self._queue, *self._reading))

    def _write(self, manager: SessionManager, place: StorePlace) -> None:
        """One transaction for the writes at the head of the queue. Raises Busy, with the queue as it was."""
        group = self._group(place)
        try:
            if all(_access(call) is Access.APPEND for call in group):
                outcomes = self._append(group, manager)
            else:
                with manager.transaction(wait=False):
                    outcomes = self._carry_out(group, manager)
        except (Busy, FileMoved):
            raise
        except Exception as error:
            self._fail_group(group, manager, error)
            return
        # Those that the group had no room for are left in the queue.
        for call, outcome in zip(group, outcomes, strict=False):
            self._queue.popleft()
            if isinstance(outcome, Appended):
                call.acknowledge(outcome)
            else:
                self._answer(call, outcome)

    def _carry_out(self, group: list[Call], manager: SessionManager) -> list[Any]:
        """The encoded results of the first of a group, or their exceptions: of as many as there is room for."""
        outcomes: list[Any] = []
        weight = 0
        for call in group:
            outcome = self._attempt(call, self._context(call, manager))
            outcomes.append(outcome)
            if not isinstance(outcome, Exception) and (weight := weight + len(outcome)) > GROUP_BYTES:
                break
        return outcomes

    def _append(self, group: list[Call], manager: SessionManager) -> list[Any]:
        """Appends alone go to the manager together, which stores them with one statement."""
        outcomes: list[Any] = [_piece(call) for call in group]
        pieces = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        receipts = iter(manager.append_pieces(pieces, wait=False))
        return [outcome if isinstance(outcome, Exception) else next(receipts) for outcome in outcomes]

    def _group(self, place: StorePlace) -> list[Call]:
        """The writes to one store that nothing else stands between."""
        group: list[Call] = []
        for call in self._queue:
            if len(group) == MAX_GROUP or not _access(call).writes or call.place != place:
                break
            group.append(call)
        return group

    def _attempt(self, call: Call, context: Any) -> Any:
        """The encoded result, or the exception; what the call had written is undone by then, and nothing of the
        others'."""
        try:
            return call.encode_result(carry_out(context, _method(call), own_params(call.params)))
        except Exception as error:
            return error

    def _fail_group(self, group: list[Call], manager: SessionManager, error: Exception) -> None:
        """The transaction as a whole failed. Each call is tried alone, so that a small one may still fit on a full
        disk, and each learns its own fate. Raises Busy and FileMoved, with those that wait left in the queue."""
        if len(group) == 1:
            self._fail(self._queue.popleft(), error)
            return
        for call in group:
            try:
                with manager.transaction(wait=False):
                    outcome = self._attempt(call, self._context(call, manager))
            except (Busy, FileMoved):
                raise
            except Exception as own_error:
                outcome = own_error
            self._queue.popleft()
            self._answer(call, outcome)

    def _read(self, manager: SessionManager, access: Access) -> bool:
        if access is Access.LONG_READ and len(self._reading) >= MAX_LONG_READS:
            return False
        try:
            pin = manager.pin(wait=False)
        except (Busy, FileMoved):
            raise
        except Exception as error:
            self._fail(self._queue.popleft(), error)
            return True
        call = self._queue.popleft()
        if access is Access.LONG_READ:
            self._read_beside(call, manager, pin)
        else:
            with pin:
                self._answer(call, self._attempt(call, self._context(call, manager)))
        self._delays = None
        return True

    def _read_beside(self, call: Call, manager: SessionManager, pin: Pin) -> None:
        """Read from the snapshot on another thread, while what follows goes on here."""
        self._reading[call] = pin
        loop = asyncio.get_running_loop()

        def read() -> Encoded:
            with pin:
                context = self._context(call, manager)
                return call.encode_result(carry_out(context, _method(call), own_params(call.params)))

        done = self._executor.submit(read)
        done.add_done_callback(lambda finished: loop.call_soon_threadsafe(self._was_read, call, finished))

    def _was_read(self, call: Call, done: Future[Encoded]) -> None:
        del self._reading[call]
        error = done.exception()
        if error is None:
            call.succeed_encoded(done.result())
        else:
            self._fail(call, _as_seen_by(call, error))
        self.run()

    def _answer(self, call: Call, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            self._fail(call, outcome)
        else:
            call.succeed_encoded(outcome)

    def _fail(self, call: Call, error: Exception) -> None:
        """Answer with an error; if it is the store's own, its health is looked at before the answers leave."""
        self._suspicious = self._suspicious or isinstance(error, StoreError)
        call.fail(error)

    def _context(self, call: Call, manager: SessionManager) -> StoreContext:
        return StoreContext(store_name(call.params), manager, self._subscriptions)

    def _wait_for_lock(self, busy: Busy) -> bool:
        """Try again after a while; whoever has waited for the whole budget is told so."""
        call = self._queue[0]
        budget = self._stores.settings.busy_timeout
        if call.waited >= budget:
            self._fail(self._queue.popleft(), _as_seen_by(call, busy))
            return True
        if self._delays is None:
            self._delays = backoff(budget)
        delay = next(self._delays, 0.0)
        if delay == 0.0:
            self._delays = None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(min(delay, budget - call.waited), self.run)
        return False


def _piece(call: Call) -> Any:
    """The params of an append, or what is wrong with them."""
    try:
        return structure_params(own_params(call.params), _method(call).params)
    except SessionsError as error:
        return error


def _as_seen_by(call: Call, error: BaseException) -> Exception:
    """A failure that several calls share, as each of them has to be told: how long it waited is its own."""
    if isinstance(error, Busy):
        return Busy(error.path, round(call.waited * 1000), error.holder)
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def _method(call: Call) -> Method:
    assert call.method is not None
    return call.method


def _access(call: Call) -> Access:
    return _method(call).access
