"""A lane: calls that are carried out in the order in which they came, each as soon as it can be.

All stores that run on the event loop share one lane; each store that runs on a thread has a lane of its own. A lane
knows the loop, and never waits: what cannot be done now stays in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from mandrake_sessions.connection.answering import access_of, answer_in, as_seen_by, attempt
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.in_progress import InProgress
from mandrake_sessions.connection.lane_context import LaneContext
from mandrake_sessions.connection.lock_wait import LockWait
from mandrake_sessions.connection.reads import Answer, LongReads, read_group, take_reads, take_snapshot
from mandrake_sessions.connection.runner import Runner
from mandrake_sessions.connection.runners import CallRunners
from mandrake_sessions.connection.waiting_queue import WaitingQueue
from mandrake_sessions.connection.writes import WriteGroups, is_long, take_writes
from mandrake_sessions.errors import Busy, Cancelled, StoreMoved
from mandrake_sessions.handlers.context import SubscriptionContext
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.methods import Access
from mandrake_sessions.stopping import Stoppable
from mandrake_sessions.store.interface import Snapshot
from mandrake_sessions.store_places import StorePlace

T = TypeVar("T")

LOOK_SECONDS = 0.005
TOO_LATE = "the server ends, and the request could not be carried out in time"


class Lane:
    """``context``: what all lanes share. ``runners``: what carries out the calls of this lane. ``queue``: its calls
    that wait."""

    def __init__(self, context: LaneContext, runners: CallRunners) -> None:
        self._context = context
        self._runners = runners
        self.queue = WaitingQueue()
        self._lock = LockWait(lambda: context.stores.settings.busy_timeout, context.run)
        self._writes = WriteGroups(context.subscriptions, runners.calls.group_seconds)
        self._long_reads = LongReads(context.subscriptions, self._answer_long_read, context.run)
        self._now = InProgress()
        self._abandoned = False
        self._loop = asyncio.get_running_loop()
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is carried out now; calls may still wait."""
        return not self._now.calls and not self._long_reads.reading

    @property
    def is_writing(self) -> bool:
        """Whether a write is carried out on a thread, whose outcome nobody knows before its end."""
        return self._now.is_writing

    def needs(self, place: StorePlace) -> bool:
        """Whether a call about this store waits or is carried out; asked only when a folder goes."""
        return self._now.holds(place) or self.queue.holds(place) or self._long_reads.holds(place)

    def step(self) -> bool:
        """Carry out the first call, or the group that begins with it; False if it has to wait. What nobody foresaw is
        the answer of the calls that it was about."""
        call = self.queue.first
        try:
            return self._step(call)
        except Exception as error:
            for failed in (call, *self._now.end()):
                self._finish(failed, error)
            return True

    def cancel(self, message_id: Any) -> bool:
        """End a request that waits, reads or writes in steps; whether there was one. Another write that runs may be
        committed in this moment: it goes on."""
        call = self.queue.find(message_id)
        if call is not None:
            self._finish(call, Cancelled("the request was cancelled before it was carried out"))
            return True
        return self._now.cancel(message_id) or self._long_reads.cancel(message_id)

    def fail_waiting(self, place: StorePlace, error: Exception) -> None:
        """The store cannot be opened: answer the calls that wait for it with why. One that could not be made is empty
        still, and reads say so."""
        waiting = [call for call in self.queue if call.place == place and access_of(call) is not Access.UNSUBSCRIBE]
        is_absent = bool(waiting) and self._context.stores.is_absent(place)
        for call in waiting:
            if access_of(call).writes or not is_absent:
                self._finish(call, as_seen_by(call, error))

    def abandon(self) -> None:
        """Answer all that waits or reads, and what still comes, with ``cancelled``: the server has to end now."""
        self._abandoned = True
        self._long_reads.end(TOO_LATE)
        self._now.abandon(TOO_LATE)

    def close(self) -> None:
        self._lock.close()
        self._long_reads.close()

    def _step(self, call: Call) -> bool:
        context = self._context
        if self._abandoned:
            self._finish(call, Cancelled(TOO_LATE))
            return True
        if self._now.calls:
            return False
        place = call.place
        if place is None:
            if call.asks_others:
                return self._read_others(call)
            self._finish(call, call.failed or RuntimeError("no store was found"))
            return True
        access = access_of(call)
        if access is Access.UNSUBSCRIBE:
            self._finish(call, attempt(lambda: answer_in(call, SubscriptionContext(context.subscriptions))))
            return True
        manager = context.stores.opened(place)
        if context.opener.opening and place in context.opener.opening:
            # A transaction that began now would have what is closed on the other thread.
            return False
        if manager is None:
            if self._long_reads.may_see(place):
                self._look_again()
                return False
            outcome = context.answer_unopened(call, place)
            if outcome is None:
                return False
            self._finish(call, outcome)
            return True
        if self._lock.busy is not None:
            if self._answer_late(call):
                return True
            if self._lock.keeps_back(call):
                return False
        if self._runners.calls.is_busy:
            return False
        if access.writes:
            return not self._runners.thread.is_busy and self._write(call, manager, place)
        return self._read(call, manager, place, access)

    def _write(self, call: Call, manager: SessionManager, place: StorePlace) -> bool:
        """One transaction for the writes at the head of the queue; one that may take long has its own, on the thread,
        and all that came after it waits."""
        runner: Runner = self._runners.thread
        stoppable: Stoppable | None = None
        if is_long(call):
            self.queue.remove(call)
            group = [call]
            work = partial(self._writes.write_long, call, manager)
            if access_of(call) is Access.WRITE_IN_STEPS:
                stoppable = Stoppable()
                work = partial(self._writes.write_in_steps, call, manager, stoppable)
        else:
            group, runner = take_writes(self.queue, place), self._runners.calls
            work = partial(self._writes.write, group, manager, lock_was_held=self._lock.busy is not None)
        return self._start(runner, group, work, self._finish_group, writes_to=manager, stoppable=stoppable)

    def _read(self, call: Call, manager: SessionManager, place: StorePlace, access: Access) -> bool:
        subscriptions, calls = self._context.subscriptions, self._runners.calls
        if access is not Access.LONG_READ and not call.is_long:
            group = take_reads(self.queue, place, calls.max_reads)
            read = partial(read_group, group, manager, subscriptions, calls.group_seconds)
            return self._start(calls, group, read, self._answer_reads)
        if self._long_reads.is_full:
            return False
        self.queue.remove(call)
        return self._start(
            calls, [call], partial(take_snapshot, manager, subscriptions), partial(self._begin_long_read, manager)
        )

    def _read_others(self, call: Call) -> bool:
        """Read all stores, or one that is named by its id: here, if it is open here."""
        others = self._context.others
        call.place = others.place_of(call)
        if call.place is not None:
            return self._step(call)
        if self._long_reads.is_full:
            return False
        self.queue.remove(call)
        self._long_reads.begin_other(call, others.reading(call))
        return True

    def _look_again(self) -> None:
        """In a moment: nobody tells when a read is done with one of many stores."""
        if self._next_look is None or self._next_look.when() <= self._loop.time():
            self._next_look = self._loop.call_later(LOOK_SECONDS, self._context.run)

    def _start(
        self,
        runner: Runner,
        group: list[Call],
        work: Callable[[], T],
        then: Callable[[list[Call], T], None],
        writes_to: SessionManager | None = None,
        stoppable: Stoppable | None = None,
    ) -> bool:
        """Have calls carried out that were taken out of the queue; ``then`` is given what came of them."""
        self._now.calls, self._now.writes_to, self._now.stoppable = group, writes_to, stoppable
        return runner.run(work, partial(self._ended, group, then))

    def _ended(self, group: list[Call], then: Callable[[list[Call], T], None], outcome: T | Exception) -> None:
        self._now.end()
        if not isinstance(outcome, Exception):
            if self._lock.busy is not None:
                self._lock.over()
            then(group, outcome)
        elif isinstance(outcome, Busy | StoreMoved) and not self._abandoned:
            self._wait(group, outcome)
        else:
            self._lock.over()
            for call in group:
                self._finish(call, as_seen_by(call, outcome))

    def _wait(self, group: list[Call], reason: Busy | StoreMoved) -> None:
        """Put back what could not be done now. A call that has used up its budget for a lock gets `busy`."""
        self._put_back(group)
        first = next((call for call in group if not call.answered), None)
        if first is None:
            return
        if isinstance(reason, StoreMoved):
            if first.place is not None:
                self._context.opener.open(first.place)
            return
        self._lock.found_held(reason, first.place)
        if not self._answer_late(first):
            self._lock.wait(first)

    def _answer_late(self, call: Call) -> bool:
        late = self._lock.late(call)
        if late is None:
            return False
        self._finish(call, late)
        return True

    def _finish_group(self, group: list[Call], outcomes: list[Any]) -> None:
        """Answer writes. Put writes that did not fit back at the head of the queue."""
        if len(outcomes) < len(group):
            self._put_back(group[len(outcomes) :])
        self._context.answer_each(group, outcomes)

    def _answer_reads(self, group: list[Call], outcomes: list[Answer | Exception]) -> None:
        if len(outcomes) < len(group):
            self._put_back(group[len(outcomes) :])
        if again := self._context.answer_reads(group, outcomes):
            self._put_back(again)

    def _begin_long_read(self, manager: SessionManager, group: list[Call], snapshot: Snapshot) -> None:
        (call,) = group
        if call.answered:
            # It was cancelled while the snapshot was taken on a thread.
            self._runners.thread.run(snapshot.release, lambda _: None)
        else:
            self._long_reads.begin(call, manager, snapshot)

    def _answer_long_read(self, call: Call, outcome: Answer | Exception) -> None:
        self._answer_reads([call], [outcome])

    def _put_back(self, calls: list[Call]) -> None:
        for call in reversed(calls):
            if not call.answered:
                self.queue.put_back(call)

    def _finish(self, call: Call, outcome: Any) -> None:
        """Answer a call, which need not wait any longer."""
        if call in self.queue:
            self.queue.remove(call)
        self._context.answer(call, outcome)
