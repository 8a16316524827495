"""Turns whose writer is gone become ``interrupted``."""

from __future__ import annotations

from functools import partial

from mandrake_sessions.model import ResponseStatus
from mandrake_sessions.operations.rounds import change_response
from mandrake_sessions.operations.turns import interrupt_turn
from mandrake_sessions.store.interface import Store, Transaction
from mandrake_sessions.store.sql import leases, rounds, turns
from mandrake_sessions.store.sql.readable import readable
from mandrake_sessions.store.sql.rounds import NOT_ENDED

# An end must not wait for somebody else's lock; others will notice in time.
LAST_WORDS_SECONDS = 0.3


def interrupt_orphans(store: Store, *, wait: bool = True) -> int:
    """Mark the turns of processes that are gone as ``interrupted``; gives how many. A process that is merely stopped
    or slow is not gone. With ``wait=False`` a lock of another process is ``Busy`` at once."""
    store.look_after_lease(wait=wait)
    if not store.may_be_written:
        return 0
    with store.reading() as sql:
        named = leases.streaming_leases(sql)
    return sum(_interrupt_if_dead(store, lease_id, wait=wait) for lease_id in named - {store.lease_id})


def interrupt_own(store: Store) -> None:
    """At the end of the process, or of its use of the store, so that nobody has to wait to notice."""
    if (lease_id := store.lease_id) is None or not store.may_be_written:
        return
    with store.reading() as sql:
        if not leases.turn_ids_of_lease(sql, lease_id):
            # A lock that another process holds is no matter then.
            return
    with store.transaction(budget=LAST_WORDS_SECONDS) as tx:
        _interrupt(tx, lease_id)


def _interrupt_if_dead(store: Store, lease_id: str, *, wait: bool) -> int:
    with store.dead_lease(lease_id, wait=wait) as dead:
        if not dead:
            return 0
        with store.transaction(wait=wait) as tx:
            return _interrupt(tx, lease_id)


def _interrupt(tx: Transaction, lease_id: str) -> int:
    turn_ids = leases.turn_ids_of_lease(tx.sql, lease_id)
    for stored in readable(tx.sql, turn_ids, partial(turns.get_turn, tx.sql)):
        interrupt_turn(tx, stored)
    return len(turn_ids)


def interrupt_unattended(store: Store, response_id: str, *, also_unknown: bool) -> bool:
    """Mark a response that has not ended as interrupted, if none of its turns streams and the process is gone that has
    streamed one of them last; gives whether it did. For those whose client knows that only that process would have
    gone on with it: of any other response the store does not know whom it waits for. ``also_unknown``: one that no
    process has streamed too. Raises NotFound."""
    with store.reading() as sql:
        lease_id = leases.last_lease(sql, rounds.get_round_of_response(sql, response_id).pk)
    if lease_id == store.lease_id:
        return False
    if lease_id is None:
        return also_unknown and _interrupt_response(store, response_id)
    with store.dead_lease(lease_id) as dead:
        return dead and _interrupt_response(store, response_id)


def _interrupt_response(store: Store, response_id: str) -> bool:
    with store.transaction() as tx:
        found = rounds.get_round_of_response(tx.sql, response_id, lenient=True)
        if found.detail.response.status not in NOT_ENDED or turns.is_streaming(tx.sql, found.pk):
            return False
        change_response(tx, found, {"status": ResponseStatus.INTERRUPTED.value})
    return True
