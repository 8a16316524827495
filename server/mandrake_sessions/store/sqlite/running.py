"""The write transaction that runs on an open file, and what is cached of the file between transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mandrake_sessions.errors import Unreadable
from mandrake_sessions.ids import now_ms
from mandrake_sessions.model import Change
from mandrake_sessions.store.interface import Commit
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite.connect import StoreConnection


class Cache:
    """What is true of the file as long as no other connection writes to it, which ``data_version`` tells. ``streams``:
    see ``sql/streams.py``."""

    def __init__(self) -> None:
        self.data_version = -1
        self.last_seq: int | None = None
        self.streams: dict[str, Any] = {}

    def forget(self) -> None:
        """It may no longer be true."""
        self.last_seq = None
        self.streams.clear()


class SqliteTransaction:
    """A running write transaction: see ``interface.Transaction``. ``at``: see ``transaction``.

    ``seq_before``: the last change before it, if that is known; ``depth``: how many savepoints it is in; ``lost``: the
    error that has ended it too early.
    """

    def __init__(
        self,
        writer: StoreConnection,
        cache: Cache,
        own_lease_id: Callable[[], str | None],
        changes: list[Change] | None,
        at: int | None,
    ) -> None:
        last_seq = cache.last_seq
        self.own_lease_id = own_lease_id
        self.sql = writer
        self.streams = cache.streams
        self.changes = changes
        self.seq_before = last_seq
        self.clock = now_ms()
        self.now = self.clock if at is None else at
        self.thread = threading.get_ident()
        self.depth = 0
        self.lost: BaseException | None = None
        self._seq = last_seq

    @property
    def seq(self) -> int:
        """The ``seq`` of the last change, this transaction's own included."""
        if self._seq is None:
            self._seq = last_seq(self.sql)
            if self.seq_before is None:
                self.seq_before = self._seq
        return self._seq

    def next_seq(self) -> int:
        """The number of the next change. It is given under the write lock, so commit order is ``seq`` order."""
        if (seq := self.seq) >= MAX_NUMBER:
            raise Unreadable("change", str(seq), "no number can follow the one that it has")
        self._seq = seq + 1
        return self._seq

    def as_commit(self) -> Commit:
        """The commit that it has become."""
        changes, seq, pieces = self.changes, self.seq, 0
        for change in changes or ():
            pieces += (change.last_chunk or 0) - (change.first_chunk or 0) + 1
        are_all = changes is not None and self.seq_before is not None and seq - self.seq_before == pieces
        return Commit(self.seq_before, seq, changes if are_all else None)

    def forget(self) -> None:
        """A savepoint was rolled back: its numbers are free again, since no one has seen them."""
        self._seq = None
        self.streams.clear()
        if self.changes is not None:
            self.changes.clear()
