"""All operations on the entities of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions.operations.feed import Feed
from mandrake_sessions.operations.history import HistoryOperations
from mandrake_sessions.operations.pruning import PruningOperations
from mandrake_sessions.operations.rounds import RoundOperations
from mandrake_sessions.operations.sessions import SessionOperations
from mandrake_sessions.operations.turns import TurnOperations
from mandrake_sessions.store.interface import EntityStore


class Conversations(PruningOperations, SessionOperations, RoundOperations, TurnOperations, HistoryOperations):
    """What a store holds, whatever store it is. ``feed`` reads its changes."""

    def __init__(self, store: EntityStore) -> None:
        super().__init__(store)
        self.feed = Feed(store)

    @contextmanager
    def transaction(self, *, appends_only: bool = False, wait: bool = True) -> Iterator[None]:
        """Run the operations of the block in one transaction, all or nothing.

        After the block they are committed, as durable as the settings say; listeners hear of them then, and not
        before. An operation in it that raises undoes itself alone: let its exception pass to undo the whole. Inside
        another transaction of this thread it is a part that can fail by itself. Do not ``await`` in it.

        ``appends_only`` is a promise that lets ``balanced`` durability commit as it does for appends. With
        ``wait=False`` a lock of another process is ``Busy`` at once.

        Raises:
            Busy: another process held the lock for the busy timeout; the block was not entered.
            StorageFailure: the store cannot be written; nothing of the block is stored.
        """
        with self.store.transaction(appends_only=appends_only, wait=wait):
            yield
