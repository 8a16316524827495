"""SQL of pruning the feed: how big it is, and what of it can go. Each step is short."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from attrs import frozen

from mandrake_sessions.model import ChangeKind, TurnStatus
from mandrake_sessions.store.interface import Dialect, Sql, Transaction
from mandrake_sessions.store.sql.changes import newest_row, pruned_seq, store_id
from mandrake_sessions.store.sql.selection import Selection
from mandrake_sessions.store.sql.turns import fold_turn, turn_by_pk

# A row's number, ordinal, sizes and index entry, about.
ROW_BYTES = 90
# One step of pruning deletes, or folds, about so much at the most; and one row at least.
PRUNE_ROWS = 1000
PRUNE_BYTES = 1024 * 1024

# What they were recorded for took other rows of the feed with it.
_DELETIONS = frozenset(
    {ChangeKind.TURN_DELETED, ChangeKind.ROUND_DELETED, ChangeKind.SESSION_DELETED, ChangeKind.TOOL_CALL_DELETED}
)


@frozen
class FeedSpan:
    """Some neighbouring rows of the feed: the last of them, the latest time that one was made at, their size in bytes,
    about, and whether one of them tells of a deletion."""

    last_seq: int
    at: int
    size: int
    rows: int
    deletes: bool


@frozen
class FeedExtent:
    """Which feed it is, and the seqs between which it holds anything."""

    store_id: str
    pruned_seq: int
    last_seq: int


def _size(dialect: Dialect) -> str:
    """The size of a row ``f`` in bytes, about. Replaced text is kept for the feed alone."""
    texts = ("f.content", "f.raw_response", "f.data")
    own = " + ".join(f"coalesce({dialect.byte_length(text)}, 0)" for text in texts)
    replaced = " + ".join(f"coalesce({dialect.byte_length(text)}, 0)" for text in ("x.content", "x.raw_response"))
    return (
        f"{ROW_BYTES} + {own} + CASE WHEN f.kind = '{ChangeKind.TURN_UPDATED}'"
        f" THEN coalesce((SELECT {replaced} FROM text x WHERE x.pk = f.seq), 0) ELSE 0 END"
    )


class _NewerRow(NamedTuple):
    """A row of the feed, to be measured."""

    seq: int
    at: int
    kind: str
    size: int


class _OlderRow(NamedTuple):
    """A row of the feed, to be deleted."""

    seq: int
    turn_pk: int | None
    kind: str
    chunk: int | None
    size: int


class _Counted(NamedTuple):
    """What the row of a turn accounts for."""

    chunk_count: int
    folded_chunks: int
    status: str


_NEWER = Selection.as_stored(_NewerRow, "f", size=_size)
_OLDER = Selection.as_stored(_OlderRow, "f", size=_size)
_COUNTED = Selection.as_stored(_Counted, "t")


def feed_extent(sql: Sql) -> FeedExtent:
    return FeedExtent(store_id(sql) or "", pruned_seq(sql), newest_row(sql))


def measure_feed(sql: Sql, after: int, rows: int, size: int) -> FeedSpan | None:
    """The next rows above a seq: as many as make ``size`` bytes, ``rows`` at the most; None where there are none."""
    found = sql.execute(_newer_rows(sql.dialect), (after, rows))
    last = latest = total = count = 0
    deletes = False
    for row in map(_NewerRow._make, found):
        last, latest = row.seq, max(latest, row.at)
        total += row.size
        count += 1
        deletes = deletes or row.kind in _DELETIONS
        if total >= size:
            break
    return FeedSpan(last, latest, total, count, deletes) if count else None


def prune_feed(tx: Transaction, through: int) -> bool:
    """Delete some of the oldest rows of the feed, none above ``through``; whether more are left to delete.

    Before a piece goes, the turn's row accounts for it. The newest row stays, so no seq is given twice.
    """
    last, newest_chunks, updated, more = _oldest_rows(tx, through)
    if not last:
        return False
    for turn_pk, chunk in newest_chunks.items():
        _account_for(tx, turn_pk, chunk)
    tx.sql.execute("DELETE FROM feed WHERE seq <= ?", (last,))
    tx.sql.execute("UPDATE store SET pruned_seq = ?", (last,))
    for turn_pk in updated:
        _delete_replaced_text(tx, turn_pk, last)
    return more


def _oldest_rows(tx: Transaction, through: int) -> tuple[int, dict[int, int], set[int], bool]:
    """What one step takes: the last seq (0: nothing), the newest piece of each turn that goes, the turns of which a
    change goes that may have replaced text, and whether rows are left for another step."""
    last = size = count = 0
    newest_chunks: dict[int, int] = {}
    updated: set[int] = set()
    for row in map(_OlderRow._make, tx.sql.execute(_older_rows(tx.sql.dialect), (through,))):
        if count >= PRUNE_ROWS or size >= PRUNE_BYTES:
            return last, newest_chunks, updated, True
        last, size, count = row.seq, size + row.size, count + 1
        turn_pk = row.turn_pk
        if row.chunk is not None and turn_pk is not None:
            if turn_pk not in newest_chunks:
                size += _unfolded_bytes(tx, turn_pk)
            newest_chunks[turn_pk] = max(row.chunk, newest_chunks.get(turn_pk, row.chunk))
        elif row.kind == ChangeKind.TURN_UPDATED and turn_pk is not None:
            updated.add(turn_pk)
    return last, newest_chunks, updated, False


def _unfolded_bytes(tx: Transaction, turn_pk: int) -> int:
    """How much folding the turn would copy, about."""
    row = tx.sql.execute(
        "SELECT f.content_bytes + f.raw_response_bytes - t.folded_bytes FROM turn t JOIN feed f ON f.turn_pk = t.pk"
        " WHERE t.pk = ? AND t.status = 'streaming' AND f.chunk >= t.folded_chunks ORDER BY f.chunk DESC LIMIT 1",
        (turn_pk,),
    ).fetchone()
    return 0 if row is None else max(0, row[0] or 0)


def _account_for(tx: Transaction, turn_pk: int, chunk: int) -> None:
    """Make the row of a turn account for its pieces up to ``chunk``, if it does not do so already. Release 0.3.0
    left folded pieces that their row does not account for."""
    statement = f"SELECT {_COUNTED.sql(tx.sql.dialect)} FROM turn t WHERE t.pk = ?"
    found = tx.sql.execute(statement, (turn_pk,)).fetchone()
    if found is None:
        return
    row = _Counted._make(found)
    if row.status == TurnStatus.STREAMING and chunk >= min(row.chunk_count, row.folded_chunks):
        fold_turn(tx, turn_by_pk(tx.sql, turn_pk))


@cache
def _newer_rows(dialect: Dialect) -> str:
    return f"SELECT {_NEWER.sql(dialect)} FROM feed f WHERE f.seq > ? ORDER BY f.seq LIMIT ?"


@cache
def _older_rows(dialect: Dialect) -> str:
    return (
        f"SELECT {_OLDER.sql(dialect)} FROM feed f"
        " WHERE f.seq <= ? AND f.seq < (SELECT max(seq) FROM feed) ORDER BY f.seq"
    )


def _delete_replaced_text(tx: Transaction, turn_pk: int, last: int) -> None:
    """Text that was replaced, once the feed no longer names it."""
    for text in ("content", "raw_response"):
        tx.sql.execute(
            f"UPDATE text SET {text} = NULL WHERE turn_pk = ? AND pk <= ? AND {text} IS NOT NULL"
            f" AND pk < (SELECT {text}_pk FROM turn WHERE pk = ?)",
            (turn_pk, last, turn_pk),
        )
    tx.sql.execute(
        "DELETE FROM text WHERE turn_pk = ? AND pk <= ?"
        " AND coalesce(content, '') = '' AND coalesce(raw_response, '') = ''"
        # Those that the turn's texts begin with stay.
        " AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.pk = ? AND text.pk IN (t.content_pk, t.raw_response_pk))",
        (turn_pk, last, turn_pk),
    )
