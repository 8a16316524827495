"""All operations on the entities of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mandrake_sessions import rules
from mandrake_sessions.operations.feed import Feed
from mandrake_sessions.operations.history import HistoryOperations
from mandrake_sessions.operations.on_demand import OnDemandOperations
from mandrake_sessions.operations.pruning import PruningOperations
from mandrake_sessions.operations.rounds import RoundOperations
from mandrake_sessions.operations.sessions import SessionOperations
from mandrake_sessions.operations.turns import TurnOperations
from mandrake_sessions.store.interface import EntityStore


class Conversations(
    PruningOperations,
    SessionOperations,
    RoundOperations,
    TurnOperations,
    HistoryOperations,
    OnDemandOperations,
):
    """The operations on the content of a store of any kind. ``feed`` reads its changes."""

    def __init__(self, store: EntityStore) -> None:
        super().__init__(store)
        self.feed = Feed(store)

    @contextmanager
    def transaction(self, *, appends_only: bool = False, wait: bool = True, at: int | None = None) -> Iterator[None]:
        """Run the operations of the block in one transaction, all or nothing.

        After the block they are committed, as durable as the settings say; listeners hear of them then, and not
        before. An operation in it that raises undoes itself alone: let its exception pass to undo the whole. Inside
        another transaction of this thread it is a part that can fail by itself. Do not ``await`` in it.

        ``appends_only`` is a promise that lets ``balanced`` durability commit as it does for appends. With
        ``wait=False`` a lock of another process is ``Busy`` at once.

        ``at``: when all of it happened, in milliseconds since the epoch, for programs that import what is past. The
        times that the store gives by itself (``created_at``, ``updated_at``, ``archived_at``, ``end_time``, the start
        and end of a stream) are this one, but none lies before the creation of its entity. A part has the time of the
        whole unless it is given another, so one transaction can hold an import. The order of changes stays the order in
        which they are written, and the feed keeps them as long as any.

        Raises:
            InvalidValue: ``at`` is no time, or more than a day ahead of the clock; the block was not entered.
            Busy: another process held the lock for the busy timeout; the block was not entered.
            StorageFailure: the store cannot be written; nothing of the block is stored.
        """
        at = None if at is None else rules.moment("at", at)
        with self.store.transaction(appends_only=appends_only, wait=wait, at=at):
            yield
