"""Idle work, in steps: the feed is pruned by size and age, and space is given back."""

from __future__ import annotations

import time
from collections import deque

from attrs import evolve

from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.operations.base import Operations
from mandrake_sessions.store import housekeeping
from mandrake_sessions.store.database import lock
from mandrake_sessions.store.housekeeping import FeedExtent, FeedSpan
from mandrake_sessions.store.retry import retry_while_locked
from mandrake_sessions.store.transaction import transaction

# The feed is measured in spans, and pruned by whole ones: the more of them fit into its bound, the better that is kept.
SPAN_ROWS = 1000
SPAN_BYTES = 256 * 1024
SPANS_IN_BOUND = 64
# One step measures so many spans at the most, or stops after about so many seconds. A small feed has small spans, down
# to one row each; many of them must fit into a step, or the feed grows faster than it is measured.
SPANS_A_STEP = 1000
MEASURE_SECONDS = 0.01
# Seconds to the next step: while there is more to do, while the store is written to, while nothing happens.
AT_ONCE, SOON, LATER = 0.02, 0.5, 5.0


class HousekeepingOperations(Operations):
    def housekeeper(self, max_bytes: int, max_age: float) -> Housekeeper:
        """Who prunes the feed of this store to about ``max_bytes`` and ``max_age`` seconds."""
        return Housekeeper(self, max_bytes, max_age)

    def measure_feed(self, known: FeedExtent | None, after: int, span_bytes: int) -> tuple[FeedExtent, list[FeedSpan]]:
        """What the feed holds above a seq, in spans of about ``span_bytes``, as far as one step looks; above 0 where
        the feed is no longer the one that is ``known``."""
        spans: list[FeedSpan] = []
        end = time.monotonic() + MEASURE_SECONDS
        with self._read() as connection:
            extent = housekeeping.feed_extent(connection)
            if not _continues(extent, known):
                after = 0
            after = max(after, extent.pruned_seq)
            while len(spans) < SPANS_A_STEP and time.monotonic() < end:
                span = housekeeping.measure_feed(connection, after, SPAN_ROWS, span_bytes)
                if span is None:
                    break
                spans.append(span)
                after = span.last_seq
        return extent, spans

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
            with database.domain_errors():
                retry_while_locked(lambda: housekeeping.checkpoint(database), budget, database.path)
        finally:
            database.lock.release()


def _continues(extent: FeedExtent, known: FeedExtent | None) -> bool:
    """Whether it is the same feed, grown; another file may have been put into the place of the store."""
    return known is not None and extent.store_id == known.store_id and extent.last_seq >= known.last_seq


class Housekeeper:
    """Keeps the feed of one store within its bounds: ``max_bytes`` and what one span more holds. It knows how big the
    feed is by measuring what is new, and all of it again where something was deleted from it meanwhile."""

    def __init__(self, operations: HousekeepingOperations, max_bytes: int, max_age: float) -> None:
        self._operations = operations
        self._max_bytes = max_bytes
        self._max_age_ms = max_age * 1000
        self._span_bytes = max(1, min(SPAN_BYTES, max_bytes // SPANS_IN_BOUND))
        self._extent: FeedExtent | None = None
        self._through = 0
        self._pruning = False
        self._quiet = False
        self._measure_again()

    def step(self, *, wait: bool = True) -> float:
        """One short piece of work; gives the seconds until the next is due. With ``wait=False`` a lock of another
        process is ``Busy`` at once."""
        grown = self._measure()
        self._choose()
        if self._pruning:
            self._pruning = self._operations.prune_feed(self._through, wait=wait)
            self._quiet = False
            return AT_ONCE
        if grown or not self._is_measured:
            self._quiet = False
            return SOON if self._is_measured else AT_ONCE
        if self._quiet:
            return LATER
        if self._operations.give_back(wait=wait):
            return AT_ONCE
        self._operations.checkpoint(wait=wait)
        self._quiet = True
        return LATER

    def _measure_again(self) -> None:
        self._spans: deque[FeedSpan] = deque()
        self._size = 0
        # Deletions up to here are accounted for; whether there were later ones.
        self._accounted = 0 if self._extent is None else self._extent.last_seq
        self._is_stale = False
        self._measured = 0

    def _measure(self) -> bool:
        known = self._extent
        self._extent, spans = self._operations.measure_feed(known, self._measured, self._span_bytes)
        if known is not None and not _continues(self._extent, known):
            self._measure_again()
            self._through, self._pruning = 0, False
        while self._spans and self._spans[0].last_seq <= self._extent.pruned_seq:
            self._drop_oldest()
        self._measured = max(self._measured, self._extent.pruned_seq)
        now = now_ms()
        for span in spans:
            # What a wrong clock has put into the future is as old as its measuring.
            self._spans.append(evolve(span, at=min(span.at, now)))
            self._size += span.size
            self._measured = span.last_seq
            self._is_stale |= span.deletes and span.last_seq > self._accounted
        return bool(spans)

    @property
    def _is_measured(self) -> bool:
        return self._extent is None or self._measured >= self._extent.last_seq

    def _choose(self) -> None:
        """Decide how far to prune: the oldest spans go while the rest would be enough, or they are too old."""
        oldest_allowed = now_ms() - self._max_age_ms
        while self._spans and (self._is_more_than_enough() or self._spans[0].at < oldest_allowed):
            if self._is_stale and self._is_more_than_enough():
                self._measure_again()
                return
            self._through = self._spans[0].last_seq
            self._pruning = True
            self._drop_oldest()

    def _is_more_than_enough(self) -> bool:
        return self._size - self._spans[0].size >= self._max_bytes

    def _drop_oldest(self) -> None:
        self._size -= self._spans.popleft().size
