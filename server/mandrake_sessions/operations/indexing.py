"""Fills the search index of a store: an idle task, in short steps, each one transaction of the index.

A step first follows the feed, so that what has just ended is found soon; then goes on with the texts that were there
before the index was, or that the feed no longer tells of; then puts documents again of which too many neighbours were
forgotten. A turn that streams is put in at its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from attrs import define, evolve

from mandrake_sessions.errors import Busy
from mandrake_sessions.model import ChangeKind, TurnStatus
from mandrake_sessions.operations.index_state import lacks, missing
from mandrake_sessions.store import idle
from mandrake_sessions.store.interface import Sql, Store
from mandrake_sessions.store.search import Document, IndexLost, Progress, SearchIndex, SearchWriter
from mandrake_sessions.store.sql import changes, documents, indexed
from mandrake_sessions.store.sql.indexed import TABLES, FeedRow
from mandrake_sessions.store.sql.readable import note
from mandrake_sessions.store.sql.selection import unreadable
from mandrake_sessions.store.sql.seq import last_seq
from mandrake_sessions.store.sql.values import OddValue

# One step puts about so many bytes in, or takes about so long; shorter ones would make the index of more pieces, which
# are merged again and again.
STEP_BYTES = 512 * 1024
STEP_SECONDS = 0.1
# A longer turn is put in by several steps. Each reads again what is in already, so they are not as short as others.
LONG_BYTES = 2 * 1024 * 1024
# Seconds to the next step: while there is more to do, after something was put in, and while nothing happens.
NEXT, WATCHFUL, QUIET = 0.004, 0.1, 0.3
# The same where another thread wants to do a step itself, and tries again meanwhile.
YIELDING = 0.008
# Between two tries, while somebody else fills it.
BUSY_SECONDS = 0.02
# What is in the index is looked at this often, though nothing was written.
_LOOK_SECONDS = 5.0
# So many rows are looked at together.
ROWS = 200
FEW_SESSIONS = 10
_DELETIONS = frozenset({ChangeKind.SESSION_DELETED, ChangeKind.ROUND_DELETED, ChangeKind.TURN_DELETED})


class Indexer:
    """The idle task of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._has_more = False
        # The index and the store's seq where there was nothing to do, and when that was looked at.
        self._done: tuple[str | None, int] | None = None
        self._looked_at = 0.0

    def step(self, *, wait: bool = False) -> float:
        """One short piece of it; gives the seconds until the next is due. With ``wait`` it is Busy where somebody else
        fills the index just now; without, that is left to them."""
        index, store = self._store.search, self._store
        if index is None or not store.may_be_written:
            return idle.LATER
        seq = store.last_seq()
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            # An earlier state of the index may have been put in its place.
            self._done, self._looked_at = None, time.monotonic()
        if not seq or self._done == (index.current(), seq):
            return QUIET
        try:
            if not self._has_more and not self._is_needed(index, seq):
                self._done = (index.current(), seq)
                return QUIET
            self._has_more, name = self._fill(index)
        except IndexLost:
            return WATCHFUL
        except Busy:
            if wait:
                raise
            return WATCHFUL
        self._done = None if self._has_more else (name, seq)
        if not self._has_more:
            return WATCHFUL
        return YIELDING if index.is_wanted else NEXT

    def _is_needed(self, index: SearchIndex, seq: int) -> bool:
        """Whether anything but appends was written since the index was filled: then it is not even opened to write."""
        with index.reading() as reader, self._store.reading() as sql:
            is_known = reader is not None and self._done is not None and self._done[0] == reader.name
            known = self._done[1] if self._done is not None and is_known else 0
            is_ahead = reader is not None and reader.progress.position > seq
            return is_ahead or lacks(sql, reader, known)

    def _fill(self, index: SearchIndex) -> tuple[bool, str]:
        with self._store.reading() as sql:
            store_id = changes.store_id(sql) or ""
        # The store is not opened again while the index is held: closing it waits for the index.
        with index.writing(store_id) as writer, self._store.snapshot(wait=False), self._store.reading() as sql:
            return fill(sql, writer, is_wanted=lambda: index.is_wanted), writer.name


def fill_index(
    store: Store,
    *,
    patience: float = 5.0,
    most: float = math.inf,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Fill the index of an open store, to its end, or for ``most`` seconds, or until it ``is_stopped``; gives how many
    turns were put in. For commands, where no server is.

    Raises Busy where somebody else fills it for ``patience`` seconds, and StorageFailure."""
    index = store.search
    if index is None:
        return 0
    lacking = missing(store, index)
    task = Indexer(store)
    begun = tried = time.monotonic()
    while time.monotonic() < begun + most and not is_stopped():
        try:
            if task.step(wait=True) >= WATCHFUL:
                break
            tried = time.monotonic()
        except Busy:
            if time.monotonic() > tried + patience:
                raise
            time.sleep(BUSY_SECONDS)
    return max(0, lacking - missing(store, index))


@define
class Budget:
    """What one step may still do."""

    left: int
    until: float
    is_wanted: Callable[[], bool]

    @property
    def is_used_up(self) -> bool:
        return self.left <= 0 or time.monotonic() > self.until or self.is_wanted()


def fill(
    sql: Sql,
    writer: SearchWriter,
    *,
    is_wanted: Callable[[], bool] = lambda: False,
    compacts: bool = True,
) -> bool:
    """One step, which ends as soon as the index ``is_wanted``; gives whether there is more to do."""
    budget = Budget(STEP_BYTES, time.monotonic() + STEP_SECONDS, is_wanted)
    step = _Step(sql, writer, budget)
    works = (step.follow, step.put_off, step.scan, step.compact)
    return any(work() or budget.is_used_up for work in (works if compacts else works[:-1]))


class _Step:
    """Each part gives whether it has more to do."""

    def __init__(self, sql: Sql, writer: SearchWriter, budget: Budget) -> None:
        self._sql = sql
        self._writer = writer
        self._budget = budget
        # Whether the last entity was too long for one step: the next one goes on with it.
        self._is_cut = False

    def follow(self) -> bool:
        """Go on in the feed. Where it is pruned beyond the index, or was made for it just now, all is looked at."""
        sql, writer = self._sql, self._writer
        position, last = writer.progress.position, last_seq(sql)
        if position > last or changes.pruned_seq(sql) > position or (position == 0 and writer.progress.scanned == 0):
            writer.set_progress(Progress(last, 0))
            return False
        done: set[int] = set()
        end = min(position + indexed.FEED_SPAN, last)
        for row in indexed.feed_rows(sql, position, end):
            if self._budget.is_used_up:
                end = row.seq - 1
                break
            self._put_change(row, done)
            if self._is_cut:
                end = row.seq - 1
                break
        writer.set_progress(evolve(writer.progress, position=end))
        return end < last

    def _put_change(self, row: FeedRow, done: set[int]) -> None:
        """``done``: what was put in as it is now."""
        if row.turn_pk is not None:
            self._put_turns(done, row.turn_pk)
        elif row.kind in _DELETIONS and row.session_pk is not None:
            self._remove_gone(row.session_pk)
        elif row.round_pk is not None and row.session_pk is not None:
            if row.kind != ChangeKind.RESPONSE_UPDATED and row.round_pk not in done:
                done.add(row.round_pk)
                self._put_request(row.session_pk, row.round_pk)
        elif row.session_pk is not None and row.session_pk not in done:
            done.add(row.session_pk)
            self._put_title(row.session_pk)
            if row.kind == ChangeKind.SESSION_CREATED:
                self._writer.put_off(row.session_pk, 0)

    def put_off(self) -> bool:
        """Put in what sessions brought with them that were made whole, such as forks."""
        for session_pk, after in self._writer.put_off_sessions(FEW_SESSIONS):
            entities = indexed.entities_of_session(self._sql, session_pk, after, ROWS)
            for pk, is_turn in entities:
                if is_turn:
                    self._put_turns(set(), pk)
                else:
                    self._put_request(session_pk, pk)
                self._writer.put_off(session_pk, pk - self._is_cut)
                if self._budget.is_used_up:
                    return True
            if len(entities) < ROWS:
                self._writer.done(session_pk)
        return bool(self._writer.put_off_sessions(1))

    def scan(self) -> bool:
        """Go on with what was there before: sessions, then requests, then turns; then forget what is gone."""
        writer = self._writer
        progress = writer.progress
        while progress.stage is not None and not self._budget.is_used_up:
            progress = self._scan_on(progress.stage, progress)
            writer.set_progress(progress)
        return progress.stage is not None

    def _scan_on(self, stage: int, progress: Progress) -> Progress:
        if stage == len(TABLES):
            found = self._writer.sessions(progress.scanned, ROWS)
            for pk in found:
                self._remove_gone(pk)
        else:
            found = indexed.pks_after(self._sql, TABLES[stage], progress.scanned, ROWS)
        for pk, put in self._puts(TABLES[stage], found) if stage < len(TABLES) else ():
            put()
            if self._is_cut:
                return evolve(progress, scanned=pk - 1)
            progress = evolve(progress, scanned=pk)
            if self._budget.is_used_up:
                return progress
        if len(found) == ROWS:
            return evolve(progress, scanned=found[-1])
        return evolve(progress, stage=None if stage == len(TABLES) else stage + 1, scanned=0)

    def _puts(self, table: str, pks: list[int]) -> Iterator[tuple[int, Callable[[], None]]]:
        """What puts each row of a table in."""
        if table == "turn":
            return ((turn.pk, partial(self._put_turn, turn)) for turn in documents.turn_rows(self._sql, pks))
        put = self._put_title if table == "session" else self._put_round
        return ((pk, partial(put, pk)) for pk in pks)

    def _put_round(self, pk: int) -> None:
        if (session_pk := documents.session_of_round(self._sql, pk)) is not None:
            self._put_request(session_pk, pk)

    def compact(self) -> bool:
        """Put documents in again that stand among too many that were forgotten."""
        found = self._writer.to_compact(ROWS)
        for session_pk, owner in found:
            self._writer.again(session_pk, owner)
            self._put_owner(session_pk, owner)
            if self._is_cut:
                self._writer.put_off(session_pk, owner - 1)
            if self._budget.is_used_up:
                break
        return bool(found)

    def _put_owner(self, session_pk: int, owner: int) -> None:
        if owner == session_pk:
            self._put_title(owner)
        elif documents.session_of_round(self._sql, owner) is not None:
            self._put_request(session_pk, owner)
        else:
            self._put_turns(set(), owner)

    def _put_turns(self, done: set[int], pk: int) -> None:
        if pk in done:
            return
        done.add(pk)
        for turn in documents.turn_rows(self._sql, [pk]):
            self._put_turn(turn)

    def _put_turn(self, turn: documents.TurnRow) -> None:
        if turn.status != TurnStatus.STREAMING:
            self._replace(turn.session_pk, turn.pk, documents.documents_of_turn(self._sql, turn), "turn", turn.seq)

    def _put_request(self, session_pk: int, pk: int) -> None:
        self._replace(session_pk, pk, documents.document_of_request(self._sql, session_pk, pk), "request")

    def _put_title(self, pk: int) -> None:
        self._replace(pk, pk, documents.document_of_session(self._sql, pk), "session")

    def _replace(
        self, session_pk: int, owner: int, found: Iterable[Document], entity: str, seq: int | None = None
    ) -> None:
        readable = self._readable(found, owner, entity)
        put, is_whole = self._writer.replace(session_pk, owner, readable, LONG_BYTES, seq)
        self._is_cut = not is_whole
        self._budget.left -= put + 64

    def _readable(self, found: Iterable[Document], owner: int, entity: str) -> Iterator[Document]:
        """What comes before a value that cannot be read."""
        try:
            yield from found
        except OddValue as error:
            note(self._sql, unreadable(entity, str(owner), str(error)))

    def _remove_gone(self, session_pk: int) -> None:
        known = self._writer.owners(session_pk)
        gone = set(known) - indexed.there(self._sql, known)
        self._writer.remove(session_pk, gone)
