"""Order: what arrives is carried out in turn, writes that wait together in one transaction.

Everything here runs on the event loop's thread, a slice of time at a time. It never sleeps in SQLite: a lock that is
held elsewhere is tried again by a timer; files are opened, long reads read and writes that may take long written by
threads. Methods about the server itself, cancellation and LSP's life cycle do not come here; they never wait.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mandrake_sessions.absent import AbsentStore
from mandrake_sessions.brief import Briefly
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.duration import may_take_long
from mandrake_sessions.connection.health import HealthMonitor
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions, NewSubscription
from mandrake_sessions.connection.upkeep import Upkeep
from mandrake_sessions.connection.waiting_queue import WaitingQueue
from mandrake_sessions.connection.writer_thread import WriterThread
from mandrake_sessions.errors import Busy, Cancelled, FileMoved, SessionsError, StoreError, TakesLong, WriteNeeded
from mandrake_sessions.handlers import carry_out
from mandrake_sessions.handlers.context import StoreContext, SubscriptionContext
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import Appended
from mandrake_sessions.open_stores import OpenStores
from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.protocol.converter import structure_params
from mandrake_sessions.protocol.methods import Access, Method
from mandrake_sessions.protocol.stores import own_params, store_name
from mandrake_sessions.store.interface import Snapshot
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.outbound import Outbound
from mandrake_sessions.transport.spool import Encoded, discard
from mandrake_sessions.waiting import backoff

logger = logging.getLogger(__name__)

# A group of writes shares one BEGIN IMMEDIATE and one COMMIT; its bounds, in writes, seconds and bytes of messages,
# bound how long the lock is held and how long the loop does nothing else.
MAX_GROUP = 256
GROUP_SECONDS = 0.01
GROUP_BYTES = 512 * 1024
# So many bytes of answers end a group too: they are held until its COMMIT.
GROUP_ANSWER_BYTES = 1024 * 1024
# So long calls are carried out before the event loop has its turn.
SLICE_SECONDS = 0.01
# One reader connection is left for what the loop itself reads.
MAX_LONG_READS = 3
# How long after a try the lock counts as held, for those whose time is over meanwhile.
BUSY_SECONDS = 0.1
# How often a write that must not go on is interrupted until it ends.
INTERRUPT_SECONDS = 0.01
# A folder that goes and comes again within so long keeps its store open: a burst need not be read in one go.
LEAVE_SECONDS = 0.25
_TOO_LATE = "the server ends, and the request could not be carried out in time"


class Dispatcher:
    """The queue of one connection. ``on_idle`` is called whenever all that was received is answered."""

    def __init__(
        self,
        stores: OpenStores,
        subscriptions: ConnectionSubscriptions,
        outbound: Outbound,
        monitor: HealthMonitor,
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stores = stores
        self._subscriptions = subscriptions
        self._outbound = outbound
        self._monitor = monitor
        self._on_idle = on_idle
        subscriptions.births.on_birth = self._born
        self._queue = WaitingQueue()
        self._executor = ThreadPoolExecutor(MAX_LONG_READS + 1, thread_name_prefix="mandrake-sessions-read")
        self._writer = WriterThread()
        self.upkeep = Upkeep(stores, self._writer, self._news)
        self._reading: dict[Call, Snapshot] = {}
        # The write on the writer thread, and what it writes to.
        self._writing: tuple[Call, SessionManager] | None = None
        self._opening: StorePlace | None = None
        self._leaving: set[StorePlace] = set()
        self._leave_at = 0.0
        self._suspicious = False
        self._abandoned = False
        self._next: asyncio.Handle | None = None
        # While a lock is waited for: the call that waits, when it is tried again, and what the last try said.
        self._blocked: Call | None = None
        self._retry_at = 0.0
        self._busy: Busy | None = None
        self._delays: Iterator[float] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, call: Call) -> None:
        """Queue a call; ``run`` carries it out, on the store that its params mean now."""
        try:
            call.place = self._stores.places.place(store_name(call.params))
        except Exception as error:
            call.failed = error
        self._queue.add(call)

    def leave(self, places: list[StorePlace]) -> None:
        """Close these stores, and no others, after what was submitted before and a moment: one whose folder comes again
        soon, as where a client sends its folders anew, stays open."""
        self._leaving = set(places)
        self._leave_at = self._loop.time() + LEAVE_SECONDS
        self._loop.call_later(LEAVE_SECONDS * 1.1, self.run)

    @property
    def is_idle(self) -> bool:
        return not self._queue and not self._reading and self._writing is None and self._opening is None

    @property
    def has_answered(self) -> bool:
        """Whether nothing waits for an answer that could still be given in time."""
        return not self._queue and (self.is_idle or (self._abandoned and not self.is_writing))

    @property
    def is_writing(self) -> bool:
        """Whether a write is carried out on its thread, whose outcome nobody knows before its end."""
        return self._writing is not None

    def run(self) -> None:
        """Carry out what can be now, in order, for one slice of time, and send the answers."""
        until = time.monotonic() + SLICE_SECONDS
        while self._queue and (self._abandoned or not self._outbound.is_full) and self._try_step():
            if time.monotonic() >= until:
                self.run_soon()
                break
        self._subscriptions.pump()
        self._close_left()
        if self._suspicious or not self._monitor.all_is_well:
            self._suspicious = False
            self._monitor.notice()
        self._outbound.flush()
        if self.has_answered:
            self._on_idle()

    def run_soon(self) -> None:
        """``run`` when the loop has had its turn."""
        if self._next is None:
            self._next = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next = None
        self.run()

    def _news(self) -> None:
        """Something was committed beside the calls."""
        self._subscriptions.pump(look=True)
        self._outbound.flush()

    def look_after_files(self) -> None:
        """Open anew what is no longer where it was, and try again what could not be opened."""
        self._subscriptions.reopened()
        for place, manager in self._stores.open_stores():
            if not manager.store.is_current:
                self._open(place)
        for place in (*self._stores.failed_places(), *self._stores.returned_places()):
            self._open(place)

    def interrupt_orphans(self) -> None:
        self.upkeep.interrupt_orphans(self.run)

    def keep_house(self, then: Callable[[float], None]) -> None:
        def done(pause: float) -> None:
            then(pause)
            self.run()

        self.upkeep.keep_house(done)

    def cancel(self, message_id: Any) -> None:
        """End a request that waits or reads; one that is done, or unknown, is let be."""
        call = self._queue.find(message_id)
        if call is not None:
            self._finish(call, Cancelled("the request was cancelled before it was carried out"))
            return
        # One that is being written may be committed in this moment: it is let be.
        for call, snapshot in self._reading.items():
            if call.is_request and call.id == message_id and type(call.id) is type(message_id) and not call.answered:
                call.fail(Cancelled("the request was cancelled while it read"))
                snapshot.interrupt()
                return

    def abandon(self) -> None:
        """Answer all that still waits, and what still comes, with ``cancelled``: the server has to end now."""
        self._abandoned = True
        for call, snapshot in self._reading.items():
            call.fail(Cancelled(_TOO_LATE))
            snapshot.interrupt()
        self._interrupt_write()
        self.run()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._executor.shutdown(wait=True)
        self._writer.close()

    def _interrupt_write(self) -> None:
        """It is told what became of it: it may have been committed in this moment."""
        if self._writing is not None:
            self._writing[1].store.interrupt_write()
            self._loop.call_later(INTERRUPT_SECONDS, self._interrupt_write)

    def _try_step(self) -> bool:
        """``_step``; what nobody foresaw is the answer of the call that it was about."""
        call = self._queue.first
        try:
            return self._step(call)
        except Exception as error:
            self._finish(call, error)
            return True

    def _step(self, call: Call) -> bool:
        """Carry out the first call, or the group that begins with it; False if it has to wait."""
        if self._abandoned:
            self._finish(call, Cancelled(_TOO_LATE))
            return True
        if self._writing is not None:
            return False
        if call.place is None:
            self._finish(call, call.failed or RuntimeError("no store was found"))
            return True
        access = _access(call)
        if access is Access.UNSUBSCRIBE:
            self._finish(call, self._attempt(call, SubscriptionContext(self._subscriptions)))
            return True
        manager = self._stores.opened(call.place)
        if self._opening == call.place:
            # A transaction that began now would have what is closed on the other thread.
            return False
        if manager is None:
            return self._step_without_store(call, call.place)
        if self._is_late(call):
            return True
        if (call is self._blocked and time.monotonic() < self._retry_at) or (access.writes and self._writer.is_busy):
            return False
        try:
            done = self._write(call, manager, call.place) if access.writes else self._read(call, manager, access)
        except Busy as error:
            return self._wait_for_lock(call, error)
        except FileMoved:
            self._open(call.place)
            return False
        if done:
            self._blocked = self._busy = self._delays = None
        return done

    def _step_without_store(self, call: Call, place: StorePlace) -> bool:
        """Open the store of the first call, or answer from an empty one where it is not there: reads make nothing, nor
        does a write that cannot succeed."""
        try:
            if self._stores.is_there(place):
                self._open(place)
                return False
            absent = self._stores.absent(place)
            beginning = self._subscriptions.prepare(absent)
            outcome = self._attempt(call, self._context(call, absent, beginning))
            if not isinstance(outcome, Exception):
                beginning.begin()
        except SessionsError as error:
            outcome = error
        except WriteNeeded:
            self._open(place, make=True)
            return False
        self._finish(call, outcome)
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
        opened = self._executor.submit(self._stores.open, place, make=make)
        opened.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._opened, place, done))

    def _opened(self, place: StorePlace, opened: Future[SessionManager | None]) -> None:
        """The calls that wait for a store that cannot be opened are answered with why. The subscriptions of one that is
        gone end; those that waited for it to be made begin."""
        self._opening = None
        error = opened.exception()
        manager = opened.result() if error is None else None
        if manager is not None:
            self.upkeep.opened(manager)
        self._subscriptions.reopened()
        if manager is None:
            self._subscriptions.leave(self._stores.once_opened(place))
        if manager is not None or error is not None:
            self._subscriptions.begin(self._stores.take_absent(place), manager)
        if error is not None:
            waiting = [call for call in self._queue if call.place == place and _access(call) is not Access.UNSUBSCRIBE]
            for call in waiting:
                self._finish(call, _as_seen_by(call, error))
        self.run()

    def _close_left(self) -> None:
        """Close the stores whose folders went, unless something that came before still needs them."""
        if not self._leaving or self._loop.time() < self._leave_at:
            return
        for place in [place for place in self._leaving if not self._is_needed(place)]:
            self._leaving.discard(place)
            self._subscriptions.begin(self._stores.take_absent(place), None)
            manager = self._stores.forget(place)
            if manager is not None:
                self._subscriptions.leave(manager)
                # It may wait for others who close the file too.
                self._writer.run(manager.close, lambda _: self.run())

    def _is_needed(self, place: StorePlace) -> bool:
        writing = [] if self._writing is None else [self._writing[0]]
        return (
            place == self._opening
            or self._queue.holds(place)
            or any(call.place == place for call in (*writing, *self._reading))
        )

    def _write(self, call: Call, manager: SessionManager, place: StorePlace) -> bool:
        """One transaction for the writes at the head of the queue. Raises Busy, with the queue as it was."""
        if _is_long(call):
            self._write_beside(call, manager)
            return False
        group = self._group(place)
        try:
            if self._busy is not None:
                # The lock was held a moment ago: nothing is prepared before it is ours.
                with manager.transaction(appends_only=_are_appends(group), wait=False):
                    outcomes = self._carry_out(group, manager)
            else:
                outcomes = self._carry_out(group, manager)
        except (Busy, FileMoved):
            raise
        except Exception as error:
            self._fail_group(group, manager, error)
            return True
        if not outcomes:
            # It is known to take long now.
            self._write_beside(call, manager)
            return False
        # Those that the group had no time or room for are left in the queue.
        for done, outcome in zip(group, outcomes, strict=False):
            if isinstance(outcome, Appended):
                self._queue.remove(done)
                done.acknowledge(outcome)
            else:
                self._finish(done, outcome)
        return True

    def _carry_out(self, group: list[Call], manager: SessionManager) -> list[Any]:
        """What became of the first of a group, of as many as there is time and room for: encoded results, receipts of
        appends, or exceptions. Of none, where the first is about what turns out to be large."""
        if _are_appends(group):
            return self._append(group, manager)
        if len(group) == 1:
            outcome = self._write_alone(group[0], manager)
            return [] if outcome is None else [outcome]
        outcomes: list[Any] = []
        weight = 0
        with manager.transaction(wait=False):
            until = time.monotonic() + GROUP_SECONDS
            for call in group:
                try:
                    with Briefly():
                        outcome = self._attempt_write(call, manager)
                except TakesLong:
                    call.is_long = True
                    break
                outcomes.append(outcome)
                weight += 0 if isinstance(outcome, Exception) else len(outcome)
                if weight > GROUP_ANSWER_BYTES or time.monotonic() >= until:
                    break
        return outcomes

    def _write_alone(self, call: Call, manager: SessionManager) -> Encoded | Exception | None:
        """The most frequent group, and the fastest way: an exception undoes the transaction. None: it turned out to be
        about what is large. Raises what the transaction as a whole fails with."""
        failed: Exception | None = None
        try:
            with manager.transaction(wait=False), Briefly():
                try:
                    outcome = self._carry(call, self._context(call, manager))
                except Exception as error:
                    failed = error
                    raise
                self._subscriptions.was_given(manager, manager.store.last_seq())
        except TakesLong:
            call.is_long = True
            return None
        except Exception as error:
            if error is failed:
                return error
            raise
        return outcome

    def _append(self, group: list[Call], manager: SessionManager) -> list[Any]:
        """Appends alone go to the manager together, which stores them with one statement."""
        outcomes: list[Any] = [_piece(call) for call in group]
        pieces = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        receipts = iter(manager.append_pieces(pieces, wait=False))
        return [outcome if isinstance(outcome, Exception) else next(receipts) for outcome in outcomes]

    def _group(self, place: StorePlace) -> list[Call]:
        """The writes to one store that nothing else stands between, and none that may take long."""
        group: list[Call] = []
        size = 0
        for call in self._queue:
            size += call.size
            if group and (len(group) == MAX_GROUP or size > GROUP_BYTES):
                break
            if not _access(call).writes or call.place != place:
                break
            if group and _is_long(call):
                break
            group.append(call)
        return group

    def _write_beside(self, call: Call, manager: SessionManager) -> None:
        """Carry out one write on the writer thread; all that came after it waits."""
        self._queue.remove(call)
        self._writing = (call, manager)

        def write() -> Encoded | Exception:
            with LargeWork(as_writer=True), manager.transaction(wait=False):
                return self._attempt_write(call, manager)

        self._writer.run(write, lambda finished: self._was_written(call, finished))

    def _was_written(self, call: Call, done: Future[Encoded | Exception]) -> None:
        self._writing = None
        error = done.exception()
        outcome = done.result() if error is None else error
        if isinstance(outcome, Busy) and not self._abandoned:
            self._queue.put_back(call)
            self._wait_for_lock(call, outcome)
        elif isinstance(outcome, FileMoved) and call.place is not None and not self._abandoned:
            self._queue.put_back(call)
            self._open(call.place)
        else:
            self._blocked = self._busy = self._delays = None
            self._finish(call, outcome)
        self.run()

    def _attempt_write(self, call: Call, manager: SessionManager) -> Encoded | Exception:
        """``_attempt`` inside a transaction; its result is a state that the client is given. What cannot be told, since
        it cannot be encoded, is undone."""
        is_append = _access(call) is Access.APPEND
        try:
            with manager.transaction(appends_only=is_append):
                outcome = self._carry(call, self._context(call, manager))
            if not is_append:
                # Before the changes can be sent.
                self._subscriptions.was_given(manager, manager.store.last_seq())
        except Exception as error:
            return error
        return outcome

    def _attempt(self, call: Call, context: Any) -> Encoded | Exception:
        """The encoded result, or the exception."""
        try:
            return self._carry(call, context)
        except Exception as error:
            return error

    def _carry(self, call: Call, context: Any) -> Encoded:
        return call.encode_result(carry_out(context, _method(call), own_params(call.params)))

    def _fail_group(self, group: list[Call], manager: SessionManager, error: Exception) -> None:
        """The transaction as a whole failed. Each call is tried alone, so that a small one may still fit on a full
        disk, and each learns its own fate. Raises Busy and FileMoved, with those that wait left in the queue."""
        if len(group) == 1:
            self._finish(group[0], error)
            return
        until = time.monotonic() + GROUP_SECONDS
        for call in group:
            try:
                with manager.transaction(wait=False):
                    outcome = self._attempt_write(call, manager)
            except (Busy, FileMoved):
                raise
            except Exception as own_error:
                outcome = own_error
            self._finish(call, outcome)
            if time.monotonic() >= until:
                return

    def _read(self, call: Call, manager: SessionManager, access: Access) -> bool:
        is_long = access is Access.LONG_READ or call.is_long
        if is_long and len(self._reading) >= MAX_LONG_READS:
            return False
        snapshot = manager.snapshot(wait=False)
        try:
            self._subscriptions.was_given(manager, snapshot.last_seq())
        except BaseException:
            snapshot.release()
            raise
        if is_long:
            self._queue.remove(call)
            self._read_beside(call, manager, snapshot)
            return True
        try:
            self._finish(call, self._read_here(call, manager, snapshot))
        except TakesLong:
            call.is_long = True
        return True

    def _read_here(self, call: Call, manager: SessionManager, snapshot: Snapshot) -> Encoded | Exception:
        """The encoded result, or the exception. Raises TakesLong."""
        beginning = self._subscriptions.prepare(manager)
        with snapshot:
            try:
                with Briefly():
                    answer = self._carry(call, self._context(call, manager, beginning))
                beginning.begin()
            except Exception as error:
                return error
        return answer

    def _read_beside(self, call: Call, manager: SessionManager, snapshot: Snapshot) -> None:
        """Read from the snapshot on another thread, while what follows goes on here."""
        self._reading[call] = snapshot
        beginning = self._subscriptions.prepare(manager)

        def read() -> Encoded:
            with snapshot, LargeWork(is_bounded=_method(call).is_paged):
                return self._carry(call, self._context(call, manager, beginning))

        done = self._executor.submit(read)
        done.add_done_callback(
            lambda finished: self._loop.call_soon_threadsafe(self._was_read, call, beginning, finished)
        )

    def _was_read(self, call: Call, beginning: NewSubscription, done: Future[Encoded]) -> None:
        del self._reading[call]
        try:
            answer = done.result()
            if not call.answered and beginning.is_current:
                beginning.begin()
        except Exception as error:
            self._fail(call, _as_seen_by(call, error))
        else:
            if call.answered or beginning.is_current:
                call.succeed_encoded(answer)
            else:
                # The positions of the file that it was read from mean nothing in the one that is there now.
                discard(answer)
                self._queue.put_back(call)
        self.run()

    def _finish(self, call: Call, outcome: Any) -> None:
        """Take a call out of the queue and answer it. Where the store itself failed, its health is looked at before
        the answers leave."""
        if call in self._queue:
            self._queue.remove(call)
        if isinstance(outcome, BaseException):
            self._fail(call, outcome)
        else:
            call.succeed_encoded(outcome)

    def _fail(self, call: Call, error: BaseException) -> None:
        self._suspicious = self._suspicious or isinstance(error, StoreError)
        call.fail(error)

    def _context(self, call: Call, manager: Conversations, beginning: NewSubscription | None = None) -> StoreContext:
        """``beginning``: for a call that may subscribe; writes do not."""
        return StoreContext(store_name(call.params), manager, beginning or self._subscriptions.prepare(manager))

    def _wait_for_lock(self, call: Call, busy: Busy) -> bool:
        """Try again after a while; whoever has waited for the whole budget is told so, all of them together."""
        self._busy = busy
        now = time.monotonic()
        self._retry_at = now
        if self._is_late(call):
            return True
        budget = self._stores.settings.busy_timeout
        if self._delays is None:
            self._delays = backoff(budget)
        delay = next(self._delays, 0.0)
        if delay == 0.0:
            self._delays = None
        delay = min(delay, budget - call.waited)
        self._blocked, self._retry_at = call, now + delay
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._try_again)
        return False

    def _try_again(self) -> None:
        self._retry_at = 0.0
        self.run()

    def _is_late(self, call: Call) -> bool:
        """Answer a call that has waited for its whole budget, if the lock was held when it was tried last; so it is
        not tried once for each of the calls whose time is over."""
        if self._busy is None or call.waited < self._stores.settings.busy_timeout:
            return False
        if time.monotonic() - self._retry_at > BUSY_SECONDS:
            return False
        self._finish(call, _as_seen_by(call, self._busy))
        return True


def _is_long(call: Call) -> bool:
    """``may_take_long``, asked once a call."""
    if call.is_long is None:
        call.is_long = may_take_long(call.name, call.params, call.size)
    return call.is_long


def _are_appends(group: list[Call]) -> bool:
    return all(_access(call) is Access.APPEND for call in group)


def _piece(call: Call) -> Any:
    """The params of an append, or what is wrong with them."""
    try:
        return structure_params(own_params(call.params), _method(call).params)
    except Exception as error:
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
