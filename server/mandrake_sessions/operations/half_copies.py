"""Half copies: hidden sessions of forks whose process ended before they were whole. They are deleted in steps."""

from __future__ import annotations

from mandrake_sessions.ids import now_ms
from mandrake_sessions.operations.forking import is_in_progress, remove_hidden
from mandrake_sessions.store import idle
from mandrake_sessions.store.interface import Store
from mandrake_sessions.store.sql import hidden
from mandrake_sessions.store.sql.hidden import HiddenSession
from mandrake_sessions.store.sql.leases import NO_LEASE

# Where there are no leases, a copy that nothing was added to for so long was left behind.
LEFT_BEHIND_MS = 3_600_000


class HalfCopies:
    """The idle task."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def step(self, *, wait: bool = True) -> float:
        return idle.AT_ONCE if remove_some(self._store, wait=wait) else idle.LATER


def remove_half_copies(store: Store) -> int:
    """Delete all of them; gives how many there were."""
    with store.reading() as sql:
        before = {found.pk for found in hidden.hidden_sessions(sql)}
    while remove_some(store):
        pass
    with store.reading() as sql:
        return len(before - {found.pk for found in hidden.hidden_sessions(sql)})


def remove_some(store: Store, *, wait: bool = True) -> bool:
    """Delete some rows of one of them; whether there was one. With ``wait=False`` a lock of another process is ``Busy``
    at once."""
    if not store.may_be_written:
        return False
    with store.reading() as sql:
        found = hidden.hidden_sessions(sql)
    return any(_remove_if_left_behind(store, each, wait=wait) for each in found)


def _remove_if_left_behind(store: Store, found: HiddenSession, *, wait: bool) -> bool:
    if is_in_progress(found.id):
        return False
    if found.lease == NO_LEASE:
        is_left = found.updated_at < now_ms() - LEFT_BEHIND_MS
        return is_left and _remove(store, found, wait=wait)
    if found.lease == store.lease_id:
        return _remove(store, found, wait=wait)
    with store.dead_lease(found.lease, wait=wait) as dead:
        return dead and _remove(store, found, wait=wait)


def _remove(store: Store, found: HiddenSession, *, wait: bool) -> bool:
    remove_hidden(store, found.pk, wait=wait)
    return True
