"""Turns whose writer is gone become ``interrupted``."""

from __future__ import annotations

from functools import partial

from attrs import evolve

from mandrake_sessions.model import TurnStatus
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.operations.turns import change_turn
from mandrake_sessions.store import leases, turns
from mandrake_sessions.store.oddities import readable
from mandrake_sessions.store.transaction import Transaction, transaction

# An end must not wait for somebody else's lock; others will notice in time.
LAST_WORDS_SECONDS = 0.3


class LeaseOperations(Operations):
    def interrupt_orphans(self, *, wait: bool = True) -> int:
        """Mark the turns of processes that are gone as ``interrupted``; gives how many. A process that is merely
        stopped or slow is not gone. With ``wait=False`` a lock of another process is ``Busy`` at once."""
        database = self._database(wait=wait)
        if database.lease is not None:
            database.lease.look_after()
        if database.read_only is not None or database.is_damaged:
            return 0
        with self._read() as connection:
            named = leases.streaming_leases(connection)
        own = None if database.lease is None else database.lease.id
        return sum(self._interrupt_if_dead(lease_id, wait=wait) for lease_id in named - {own})

    def _interrupt_if_dead(self, lease_id: str, *, wait: bool) -> int:
        database = self._database(wait=wait)
        with leases.dead_lease(database.path, lease_id) as dead:
            if not dead:
                return 0
            with transaction(database, self._settings, wait=wait) as tx:
                return _interrupt(tx, lease_id)

    def _interrupt_own(self) -> None:
        """At the end of the process, or of its use of the store, so that nobody has to wait to notice."""
        database = self._database()
        if database.lease is not None and database.read_only is None:
            hurried = evolve(self._settings, busy_timeout=min(self._settings.busy_timeout, LAST_WORDS_SECONDS))
            with transaction(database, hurried) as tx:
                _interrupt(tx, database.lease.id)


def _interrupt(tx: Transaction, lease_id: str) -> int:
    turn_ids = leases.turn_ids_of_lease(tx.connection, lease_id)
    for stored in readable(tx.connection, turn_ids, partial(turns.get_turn, tx.connection)):
        end_time = stored.end_time(tx.now)
        change_turn(tx, stored, {"status": TurnStatus.INTERRUPTED.value, "stream_end_time": end_time})
    return len(turn_ids)
