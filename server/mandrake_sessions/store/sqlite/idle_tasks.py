"""Idle tasks of a store in a file: free pages go back to the file system, the -wal goes into the file."""

from __future__ import annotations

from typing import Protocol

from mandrake_sessions.store import idle


class GivesSpaceBack(Protocol):
    """The store, as far as these tasks need it."""

    def give_back(self, *, wait: bool = True) -> bool: ...
    def checkpoint(self, *, wait: bool = True) -> None: ...


class GiveBack:
    """Gives free pages back, a bounded number at a time."""

    def __init__(self, store: GivesSpaceBack) -> None:
        self._store = store

    def step(self, *, wait: bool) -> float:
        return idle.AT_ONCE if self._store.give_back(wait=wait) else idle.LATER


class Checkpoint:
    """Empties the -wal."""

    def __init__(self, store: GivesSpaceBack) -> None:
        self._store = store

    def step(self, *, wait: bool) -> float:
        self._store.checkpoint(wait=wait)
        return idle.LATER
