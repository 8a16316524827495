"""A long read of one state of a store in two parts, each on a thread of its own: one connection uses one processor."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from mandrake_sessions.stopping import check_wanted
from mandrake_sessions.store.interface import EntityStore, Snapshot, Sql

T = TypeVar("T")
# How long a thread waits for the other one until it looks whether both are still wanted, or interrupts it again.
_LOOK_SECONDS = 0.02


def in_two_threads(store: EntityStore, here: Callable[[Sql], T], beside: Callable[[Sql], T]) -> tuple[T, T] | None:
    """What both give, in the state that this thread reads; None, with nothing read, where the store has no second
    snapshot of it now.

    An exception of either ends the other. Raises Cancelled, and what they raise.
    """
    snapshot = store.snapshot_beside()
    if snapshot is None:
        return None
    with ThreadPoolExecutor(1, thread_name_prefix="mandrake-sessions-beside") as executor:
        try:
            other = executor.submit(_read, store, snapshot, beside)
        except RuntimeError:
            # No thread can be started now.
            snapshot.release()
            return None
        try:
            with store.reading() as sql:
                found = here(sql)
            while not wait([other], _LOOK_SECONDS).done:
                check_wanted()
            return found, other.result()
        finally:
            _end(snapshot, other)


def _read(store: EntityStore, snapshot: Snapshot, read: Callable[[Sql], T]) -> T:
    with snapshot, store.reading() as sql:
        return read(sql)


def _end(snapshot: Snapshot, reading: Future[T]) -> None:
    """Interrupts it until it has ended: between two statements an interrupt does nothing."""
    while not reading.done():
        snapshot.interrupt()
        wait([reading], _LOOK_SECONDS)
