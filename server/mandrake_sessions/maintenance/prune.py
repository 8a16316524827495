"""Deleting what nobody has touched for long, and giving its space back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from mandrake_sessions.files import file_size
from mandrake_sessions.manager import SessionManager
from mandrake_sessions.model import PrunableSession
from mandrake_sessions.store import idle
from mandrake_sessions.store.sqlite.copying import Progress

# Between two steps others get the lock: as long as a step took, and no longer than this (seconds).
_LONGEST_PAUSE = 0.05


@frozen
class Pruned:
    """What was deleted, and the size of the file, -wal included, in bytes."""

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
    """Delete what ``manager.untouched_sessions`` has found with the same arguments, but for what was changed since. It
    goes in short steps between which others write; one that is interrupted leaves whole sessions.

    Raises:
        StorageFailure: the file cannot be written.
        Busy: others held it.
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
