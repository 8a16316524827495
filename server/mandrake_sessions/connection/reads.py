"""Reads: short ones in their turn, long ones from a snapshot that is taken in their turn, beside what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from attrs import frozen

from mandrake_sessions.brief import Briefly
from mandrake_sessions.connection.answering import access_of, answer, method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.runner import no_thread
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions, NewSubscription
from mandrake_sessions.connection.waiting_queue import WaitingQueue
from mandrake_sessions.errors import Cancelled, TakesLong
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.methods import Access
from mandrake_sessions.stopping import Stoppable
from mandrake_sessions.store.interface import Snapshot
from mandrake_sessions.store_places import OpenStore, StorePlace
from mandrake_sessions.transport.spool import Encoded
from mandrake_sessions.value import Value

# One reader connection is left for what the loop itself reads.
MAX_LONG_READS = 3


@frozen(eq=False, repr=False)
class Answer(Value):
    """The encoded answer to a read, and the subscription that begins once it is sent, if one can."""

    encoded: Encoded
    beginning: NewSubscription | None


class LongRead(Protocol):
    """What a read on another thread holds."""

    def interrupt(self) -> None:
        """End the read, from any thread."""

    def release(self) -> None:
        """Give it back; a second time does nothing."""


class Pinned(NamedTuple):
    """A store that is open here, and its state in the call's turn."""

    store: OpenStore
    manager: SessionManager
    snapshot: Snapshot


class OtherRead(LongRead, Protocol):
    """A read that brings its own stores."""

    def read(self) -> Encoded:
        """The encoded answer. Raises what the handler raises."""

    def may_see(self, path: str) -> bool:
        """Whether it may still see what is written from now on to a store that was not open when it began."""


def take_reads(queue: WaitingQueue, place: StorePlace, most: int) -> list[Call]:
    """Take out the short reads of one store at the head of the queue; the first call is one."""
    group = [queue.take()]
    while len(group) < most and queue:
        call = queue.first
        if call.place != place or call.is_long or access_of(call) not in (Access.READ, Access.FOLLOW):
            break
        group.append(queue.take())
    return group


def take_snapshot(manager: SessionManager, subscriptions: ConnectionSubscriptions) -> Snapshot:
    """The state that a read is about. Raises Busy, StoreMoved."""
    snapshot = manager.snapshot(wait=False)
    try:
        subscriptions.was_given(manager, snapshot.last_seq())
    except BaseException:
        snapshot.release()
        raise
    return snapshot


def read_group(
    group: list[Call], manager: SessionManager, subscriptions: ConnectionSubscriptions, group_seconds: float
) -> list[Answer | Exception]:
    """Answer short reads from one snapshot: the first of them, as many as there is time for. One that turns out to be
    long ends the group; its ``is_long`` says so then. Raises Busy and StoreMoved, with nothing done."""
    outcomes: list[Answer | Exception] = []
    with take_snapshot(manager, subscriptions):
        until = time.monotonic() + group_seconds
        for call in group:
            beginning = subscriptions.prepare(manager)
            try:
                with Briefly():
                    outcomes.append(Answer(answer(call, manager, beginning), beginning))
            except TakesLong:
                call.is_long = True
                break
            except Exception as error:
                outcomes.append(error)
            if time.monotonic() >= until:
                break
    return outcomes


class _UntilAnswered(Stoppable):
    """The block reads for a call; it ends soon after the call was answered otherwise."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    def check(self) -> None:
        if self._call.answered:
            raise Cancelled("the request was answered while it was read")


class LongReads:
    """``reading``: the reads that go on beside other calls. ``conclude`` is given each call with its ``Answer`` or its
    exception, on the loop's thread, and ``on_done`` is called after that."""

    def __init__(
        self,
        subscriptions: ConnectionSubscriptions,
        conclude: Callable[[Call, Answer | Exception], None],
        on_done: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._subscriptions = subscriptions
        self._conclude = conclude
        self._on_done = on_done
        self._executor = ThreadPoolExecutor(MAX_LONG_READS, thread_name_prefix="mandrake-sessions-read")
        self.reading: dict[Call, LongRead] = {}
        self._others: dict[Call, OtherRead] = {}

    @property
    def is_full(self) -> bool:
        return len(self.reading) >= MAX_LONG_READS

    def holds(self, place: StorePlace) -> bool:
        """Whether a read of this store goes on."""
        return any(call.place == place for call in self.reading)

    def begin(self, call: Call, manager: SessionManager, snapshot: Snapshot) -> None:
        """Read from the snapshot on another thread."""
        beginning = self._subscriptions.prepare(manager)

        def read() -> Answer:
            with snapshot, LargeWork(is_bounded=method_of(call).is_paged):
                return Answer(answer(call, manager, beginning), beginning)

        self._begin(call, snapshot, read)

    def begin_other(self, call: Call, reading: OtherRead) -> None:
        """The same for a read that is not about one store that is open here."""

        def read() -> Answer:
            try:
                return Answer(reading.read(), None)
            finally:
                reading.release()

        self._others[call] = reading
        self._begin(call, reading, read)

    def may_see(self, place: StorePlace) -> bool:
        """Whether a read that began earlier may still see what is written from now on to a store that is not open."""
        return any(reading.may_see(place.path) for reading in self._others.values())

    def _begin(self, call: Call, held: LongRead, read: Callable[[], Answer]) -> None:
        self.reading[call] = held

        def unless_answered() -> Answer:
            if call.answered:
                held.release()
                raise Cancelled("the request was answered before it was read")
            with _UntilAnswered(call):
                return read()

        def done(finished: Future[Answer]) -> None:
            # The loop may have ended.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._done, call, finished)

        try:
            self._executor.submit(unless_answered).add_done_callback(done)
        except (RuntimeError, MemoryError) as error:
            # No thread can be started now. One that is there already finds the call answered.
            del self.reading[call]
            self._others.pop(call, None)
            held.release()
            self._conclude(call, no_thread(error))

    def cancel(self, message_id: Any) -> bool:
        """End a read; whether there was one with this id."""
        for call, held in self.reading.items():
            if call.has_id(message_id):
                call.fail(Cancelled("the request was cancelled while it read"))
                held.interrupt()
                return True
        return False

    def end(self, why: str) -> None:
        """End all of them."""
        for call, held in self.reading.items():
            call.fail(Cancelled(why))
            held.interrupt()

    def close(self) -> None:
        self._executor.shutdown(wait=True)

    def _done(self, call: Call, finished: Future[Answer]) -> None:
        del self.reading[call]
        self._others.pop(call, None)
        outcome: Answer | Exception
        try:
            outcome = finished.result()
        except Exception as error:
            outcome = error
        self._conclude(call, outcome)
        self._on_done()
