"""Idle work, in steps: the feed is pruned by size and age, and space is given back."""

from __future__ import annotations

from collections import deque

from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.store import changes, housekeeping
from mandrake_sessions.store.database import lock
from mandrake_sessions.store.housekeeping import FeedSpan
from mandrake_sessions.store.retry import patiently
from mandrake_sessions.store.transaction import transaction

SPAN_ROWS = 2000
SPANS_A_STEP = 10
# Seconds to the next step: while there is more to do, while the store is written to, while nothing happens.
AT_ONCE, SOON, LATER = 0.02, 0.5, 5.0


class HousekeepingOperations(Operations):
    def housekeeper(self, max_bytes: int, max_age: float) -> Housekeeper:
        """Who prunes the feed of this store to about ``max_bytes`` and ``max_age`` seconds."""
        return Housekeeper(self, max_bytes, max_age)

    def measure_feed(self, after: int) -> list[FeedSpan]:
        """The sizes of what the feed holds above a seq, as far as one step looks."""
        spans: list[FeedSpan] = []
        with self._read() as connection:
            after = max(after, changes.pruned_seq(connection))
            while len(spans) < SPANS_A_STEP and (span := housekeeping.measure_feed(connection, after, SPAN_ROWS)):
                spans.append(span)
                after = span.last_seq
        return spans

    def prune_feed(self, through: int, *, wait: bool = True) -> bool:
        """Delete some of the feed's oldest rows, none above ``through``; whether more are left. A subscriber from
        before them gets ``reset``."""
        with transaction(self._database(wait=wait), self._settings, wait=wait) as tx:
            return housekeeping.prune_feed(tx, through)

    def give_back(self, *, wait: bool = True) -> bool:
        """Give a bounded number of free pages back to the file system; whether there was anything to give."""
        with self._read() as connection:
            if not housekeeping.free_pages(connection):
                return False
        with transaction(self._database(wait=wait), self._settings, wait=wait) as tx:
            return housekeeping.give_back(tx)

    def checkpoint(self, *, wait: bool = True) -> None:
        """Empty the -wal, unless somebody reads from it just now."""
        database = self._database(wait=wait)
        if database.read_only is not None or database.is_damaged or not file_size(database.path + "-wal"):
            return
        budget = self._settings.busy_timeout if wait else 0
        lock(database, budget)
        try:
            with database.translated():
                patiently(lambda: housekeeping.checkpoint(database), budget, database.path)
        finally:
            database.lock.release()


class Housekeeper:
    """Keeps the feed of one store within its bounds. It knows how big the feed is by measuring what is new."""

    def __init__(self, operations: HousekeepingOperations, max_bytes: int, max_age: float) -> None:
        self._operations = operations
        self._max_bytes = max_bytes
        self._max_age_ms = max_age * 1000
        self._spans: deque[FeedSpan] = deque()
        self._size = 0
        self._measured = 0
        self._through = 0
        self._pruning = False
        self._quiet = False

    def step(self, *, wait: bool = True) -> float:
        """One short piece of work; gives the seconds until the next is due. With ``wait=False`` a lock of another
        process is ``Busy`` at once."""
        grown = self._measure()
        self._let_go()
        if self._pruning:
            self._pruning = self._operations.prune_feed(self._through, wait=wait)
            self._quiet = False
            return AT_ONCE
        if grown:
            self._quiet = False
            return SOON
        if self._quiet:
            return LATER
        if self._operations.give_back(wait=wait):
            return AT_ONCE
        self._operations.checkpoint(wait=wait)
        self._quiet = True
        return LATER

    def _measure(self) -> bool:
        spans = self._operations.measure_feed(self._measured)
        for span in spans:
            self._spans.append(span)
            self._size += span.size
            self._measured = span.last_seq
        return bool(spans)

    def _let_go(self) -> None:
        """Decide how far to prune: the oldest spans go while all are too big, or too old."""
        oldest_allowed = now_ms() - self._max_age_ms
        while self._spans and (self._size > self._max_bytes or self._spans[0].at < oldest_allowed):
            span = self._spans.popleft()
            self._size -= span.size
            self._through = span.last_seq
            self._pruning = True
