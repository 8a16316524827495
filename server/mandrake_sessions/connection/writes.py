"""Writes: those that wait together share one transaction, each in a savepoint of its own.

All of it runs where the store's runner has it run, and knows no event loop.
"""

from __future__ import annotations

import time
from typing import Any

from mandrake_sessions.brief import Briefly
from mandrake_sessions.connection.answering import access_of, answer, method_of
from mandrake_sessions.connection.call import Call
from mandrake_sessions.connection.duration import may_take_long
from mandrake_sessions.connection.subscriptions import ConnectionSubscriptions
from mandrake_sessions.connection.waiting_queue import WaitingQueue
from mandrake_sessions.errors import Busy, Cancelled, StoreMoved, TakesLong
from mandrake_sessions.large_work import LargeWork
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.protocol.converter import structure_params, structure_plain
from mandrake_sessions.protocol.methods import Access
from mandrake_sessions.protocol.store_params import own_params
from mandrake_sessions.stopping import Stoppable
from mandrake_sessions.store_places import StorePlace
from mandrake_sessions.transport.spool import Encoded

# A group of writes shares one BEGIN IMMEDIATE and one COMMIT; its bounds, in writes and bytes of messages, bound how
# long the lock is held. The seconds are the runner's.
MAX_GROUP = 256
GROUP_BYTES = 512 * 1024
# So many bytes of answers end a group too: they are held until its COMMIT.
GROUP_ANSWER_BYTES = 1024 * 1024


def is_long(call: Call) -> bool:
    """``may_take_long``, asked once a call."""
    if call.is_long is None:
        call.is_long = may_take_long(call.name, call.params, call.weight)
    return call.is_long


def take_writes(queue: WaitingQueue, place: StorePlace) -> list[Call]:
    """Take out the writes to one store at the head of the queue: none that may take long, and no more than a group
    may have."""
    group: list[Call] = []
    size = 0
    for call in queue:
        size += call.weight
        if group and (len(group) == MAX_GROUP or size > GROUP_BYTES):
            break
        if not access_of(call).writes or (call.place is not place and call.place != place):
            break
        if group and is_long(call):
            break
        group.append(call)
    for call in group:
        queue.remove(call)
    return group


class WriteGroups:
    """Carries out groups of writes. What it gives is what became of the first of a group, of as many as there was time
    and room for: encoded answers, receipts of appends, or exceptions. Of none, where the first turns out to be about
    something large: ``is_long`` says so then.

    Raises Busy and StoreMoved, with nothing done.
    """

    def __init__(self, subscriptions: ConnectionSubscriptions, group_seconds: float) -> None:
        self._subscriptions = subscriptions
        self._group_seconds = group_seconds

    def write(self, group: list[Call], manager: SessionManager, *, lock_was_held: bool) -> list[Any]:
        try:
            if not lock_was_held:
                return self._write(group, manager)
            # The lock was held a moment ago: nothing is prepared before it is ours.
            with manager.transaction(appends_only=_are_appends(group), wait=False):
                return self._write(group, manager)
        except (Busy, StoreMoved):
            raise
        except Cancelled as error:
            # The server has to end now.
            return [error] * len(group)
        except Exception as error:
            return [error] if len(group) == 1 else self._write_one_by_one(group, manager)

    def write_long(self, call: Call, manager: SessionManager) -> list[Any]:
        """One write that may take long."""
        with LargeWork(as_writer=True), manager.transaction(wait=False):
            return [self._attempt(call, manager)]

    def write_in_steps(self, call: Call, manager: SessionManager, work: Stoppable) -> list[Any]:
        """One write that takes a transaction for each of its steps. ``work`` can be stopped between two of them."""
        try:
            with work:
                outcome = answer(call, manager, self._subscriptions.prepare(manager))
            self._subscriptions.was_given(manager, manager.store.last_seq())
        except (Busy, StoreMoved):
            raise
        except Exception as error:
            return [error]
        return [outcome]

    def _write(self, group: list[Call], manager: SessionManager) -> list[Any]:
        if _are_appends(group):
            return _append(group, manager)
        if len(group) == 1:
            return self._write_alone(group[0], manager)
        outcomes: list[Any] = []
        weight = 0
        with manager.transaction(wait=False):
            until = time.monotonic() + self._group_seconds
            for call in group:
                try:
                    with Briefly():
                        outcome = self._attempt(call, manager)
                except TakesLong:
                    call.is_long = True
                    break
                outcomes.append(outcome)
                weight += 0 if isinstance(outcome, Exception) else len(outcome)
                if weight > GROUP_ANSWER_BYTES or time.monotonic() >= until:
                    break
        return outcomes

    def _write_alone(self, call: Call, manager: SessionManager) -> list[Any]:
        """The most frequent group, and the fastest way: an exception undoes the transaction. Raises what the
        transaction as a whole fails with."""
        failed: Exception | None = None
        try:
            with manager.transaction(wait=False), Briefly():
                try:
                    outcome = answer(call, manager, self._subscriptions.prepare(manager))
                except Exception as error:
                    failed = error
                    raise
                self._subscriptions.was_given(manager, manager.store.last_seq())
        except TakesLong:
            call.is_long = True
            return []
        except Exception as error:
            if error is failed:
                return [error]
            raise
        return [outcome]

    def _write_one_by_one(self, group: list[Call], manager: SessionManager) -> list[Any]:
        """The transaction as a whole failed. Each call is tried alone, so that a small one may still fit on a full
        disk, and each learns its own fate."""
        until = time.monotonic() + self._group_seconds
        outcomes: list[Any] = []
        for call in group:
            try:
                with manager.transaction(wait=False):
                    outcome = self._attempt(call, manager)
            except (Busy, StoreMoved):
                if outcomes:
                    break
                raise
            except Exception as error:
                outcome = error
            outcomes.append(outcome)
            if time.monotonic() >= until:
                break
        return outcomes

    def _attempt(self, call: Call, manager: SessionManager) -> Encoded | Exception:
        """The answer or the exception, inside a transaction; the answer holds a state that the client is given. A write
        whose answer cannot be encoded is undone."""
        is_append = access_of(call) is Access.APPEND
        try:
            with manager.transaction(appends_only=is_append):
                outcome = answer(call, manager, self._subscriptions.prepare(manager))
            if not is_append:
                # Before the changes can be sent.
                self._subscriptions.was_given(manager, manager.store.last_seq())
        except Exception as error:
            return error
        return outcome


def _append(group: list[Call], manager: SessionManager) -> list[Any]:
    """Appends alone go to the manager together, which stores them with one statement."""
    outcomes: list[Any] = [_piece(call) for call in group]
    pieces = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    receipts = iter(manager.append_pieces(pieces, wait=False))
    return [outcome if isinstance(outcome, Exception) else next(receipts) for outcome in outcomes]


def _are_appends(group: list[Call]) -> bool:
    # Asked about each group; a generator would take longer than the answer.
    for call in group:  # noqa: SIM110
        if access_of(call) is not Access.APPEND:
            return False
    return True


def _piece(call: Call) -> Any:
    """The params of an append, or what is wrong with them."""
    method = method_of(call)
    kind = method.params
    try:
        return structure_plain(call.params, kind) or structure_params(
            own_params(call.params), kind, method.store_param_names
        )
    except Exception as error:
        return error
