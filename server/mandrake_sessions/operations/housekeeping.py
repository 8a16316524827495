"""Idle work, a list of tasks. Those of all stores: the feed is pruned by size and age, and what is left of forks is
deleted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from attrs import evolve

from mandrake_sessions.ids import now_ms
from mandrake_sessions.operations.half_copies import HalfCopies
from mandrake_sessions.store import idle
from mandrake_sessions.store.interface import IdleTask, Store
from mandrake_sessions.store.sql import feed_pruning
from mandrake_sessions.store.sql.feed_pruning import FeedExtent, FeedSpan

# The feed is measured in spans, and pruned by whole ones: the more of them fit into its bound, the better that is kept.
SPAN_ROWS = 1000
SPAN_BYTES = 256 * 1024
SPANS_IN_BOUND = 64
# One step measures so many spans at the most, or stops after about so many seconds. A small feed has small spans, down
# to one row each; many of them must fit into a step, or the feed grows faster than it is measured.
SPANS_A_STEP = 1000
MEASURE_SECONDS = 0.01


class Housekeeper:
    """The idle tasks of one store, in their order: each has its turn while those before it have nothing to do."""

    def __init__(self, tasks: Sequence[IdleTask]) -> None:
        self._tasks = tasks

    def step(self, *, wait: bool = True) -> float:
        """One short piece of work; gives the seconds until the next is due. With ``wait=False`` a lock of another
        process is ``Busy`` at once. Raises StoreError."""
        for task in self._tasks:
            pause = task.step(wait=wait)
            if pause < idle.LATER:
                return pause
        return idle.LATER


def housekeeper(store: Store, max_bytes: int, max_age: float) -> Housekeeper:
    """Keeps a store in order, with its feed at about ``max_bytes`` and ``max_age`` seconds."""
    return Housekeeper([FeedPruner(store, max_bytes, max_age), HalfCopies(store), *store.idle_tasks()])


class FeedPruner:
    """Keeps the feed of one store within its bounds: ``max_bytes`` and what one span more holds. It knows how big the
    feed is by measuring what is new, and all of it again where something was deleted from it meanwhile. A subscriber
    from before what it deletes gets ``reset``."""

    def __init__(self, store: Store, max_bytes: int, max_age: float) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._max_age_ms = max_age * 1000
        self._span_bytes = max(1, min(SPAN_BYTES, max_bytes // SPANS_IN_BOUND))
        self._extent: FeedExtent | None = None
        self._through = 0
        self._pruning = False
        self._measure_again()

    def step(self, *, wait: bool = True) -> float:
        grown = self._measure()
        self._choose()
        if self._pruning:
            with self._store.transaction(wait=wait) as tx:
                self._pruning = feed_pruning.prune_feed(tx, self._through)
            return idle.AT_ONCE
        if not self._is_measured:
            return idle.AT_ONCE
        return idle.SOON if grown else idle.LATER

    def _look(self, known: FeedExtent | None) -> tuple[FeedExtent, list[FeedSpan]]:
        """What the feed holds that is not measured yet, as far as one step looks; all of it where the feed is no longer
        the one that is ``known``."""
        spans: list[FeedSpan] = []
        end = time.monotonic() + MEASURE_SECONDS
        with self._store.reading() as sql:
            extent = feed_pruning.feed_extent(sql)
            after = max(self._measured if _continues(extent, known) else 0, extent.pruned_seq)
            while len(spans) < SPANS_A_STEP and time.monotonic() < end:
                span = feed_pruning.measure_feed(sql, after, SPAN_ROWS, self._span_bytes)
                if span is None:
                    break
                spans.append(span)
                after = span.last_seq
        return extent, spans

    def _measure_again(self) -> None:
        self._spans: deque[FeedSpan] = deque()
        self._size = 0
        # Deletions up to here are accounted for; whether there were later ones.
        self._accounted = 0 if self._extent is None else self._extent.last_seq
        self._is_stale = False
        self._measured = 0

    def _measure(self) -> bool:
        known = self._extent
        self._extent, spans = self._look(known)
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


def _continues(extent: FeedExtent, known: FeedExtent | None) -> bool:
    """Is it the same feed, grown? Another file may have been put into the place of the store."""
    return known is not None and extent.store_id == known.store_id and extent.last_seq >= known.last_seq
