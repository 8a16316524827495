"""Deletes old sessions and returns their space to the file system."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from mandrake_sessions.files import file_size
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import PrunableSession
from mandrake_sessions.store import idle
from mandrake_sessions.store.sqlite.copying import Progress

# Between two steps other processes get the lock: for as long as a step took, and at most this long (seconds).
_LONGEST_PAUSE = 0.05


@frozen
class Pruned:
    """The deleted sessions, and the size of the file in bytes, -wal included."""

    sessions: list[PrunableSession]
    bytes_before: int
    bytes_after: int


def prune(
    manager: SessionManager,
    database: str,
    found: Sequence[PrunableSession],
    before: int,
    *,
    archived: bool = False,
    progress: Progress | None = None,
) -> Pruned:
    """Delete the sessions that ``manager.untouched_sessions`` has found with the same arguments, except those that
    changed since. It works in short steps, between which other processes write. If it is interrupted, it leaves whole
    sessions.

    Raises:
        StorageFailure: the file cannot be written.
        Busy: another process held its lock.
    """
    bytes_before = _size(database)
    gone: list[PrunableSession] = []
    looked_at = 0
    began = time.monotonic()
    for step in manager.prune_sessions(found, before, archived=archived):
        gone += step
        looked_at = min(looked_at + max(len(step), 1), len(found))
        if progress is not None:
            progress("deleting", looked_at, len(found))
        began = _pause(began)
    _give_back(manager, progress)
    return Pruned(gone, bytes_before, _size(database))


def _give_back(manager: SessionManager, progress: Progress | None) -> None:
    if progress is not None:
        progress("giving space back", 0, 0)
    began = time.monotonic()
    for task in manager.store.idle_tasks():
        while task.step(wait=True) < idle.LATER:
            began = _pause(began)


def _pause(began: float) -> float:
    time.sleep(min(time.monotonic() - began, _LONGEST_PAUSE))
    return time.monotonic()


def _size(database: str) -> int:
    return file_size(database) + file_size(database + "-wal")
