"""Idle tasks that any store may have: giving free space back, and moving a log into the store."""

from __future__ import annotations

from mandrake_sessions.store.interface import Store

# Seconds to the next step: while there is more to do, while the store is written to, while nothing happens.
AT_ONCE, SOON, LATER = 0.02, 0.5, 5.0


class GiveBack:
    """Gives free space back to the system, a bounded amount at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def step(self, *, wait: bool) -> float:
        return AT_ONCE if self._store.give_back(wait=wait) else LATER


class Checkpoint:
    """Moves what waits in a log into the store itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def step(self, *, wait: bool) -> float:
        self._store.checkpoint(wait=wait)
        return LATER
