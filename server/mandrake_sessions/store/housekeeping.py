"""SQL of idle work: how big the feed is, what of it can go, and giving space back. Each step is short."""

from __future__ import annotations

from sqlite3 import Connection

from attrs import frozen

from mandrake_sessions.store.database import Database
from mandrake_sessions.store.rows import update
from mandrake_sessions.store.texts import fold
from mandrake_sessions.store.transaction import Transaction
from mandrake_sessions.store.turns import turn_by_pk

# A row's number, ordinal, sizes and index entry, about.
_ROW_BYTES = 90
PRUNE_ROWS = 1000
VACUUM_PAGES = 512


@frozen
class FeedSpan:
    """Some neighbouring rows of the feed: the last of them, when that was made, and their size in bytes, about."""

    last_seq: int
    at: int
    size: int
    rows: int


def measure_feed(connection: Connection, after: int, rows: int) -> FeedSpan | None:
    """The next ``rows`` rows above a seq; None where there are none."""
    last_seq, at, size, count = connection.execute(
        "SELECT max(seq), max(at), sum(size), count(*) FROM (SELECT seq, at, coalesce(length(content), 0)"
        " + coalesce(length(raw_response), 0) + coalesce(length(data), 0) AS size"
        " FROM feed WHERE seq > ? ORDER BY seq LIMIT ?)",
        (after, rows),
    ).fetchone()
    return None if last_seq is None else FeedSpan(last_seq, at, size + count * _ROW_BYTES, count)


def prune_feed(tx: Transaction, through: int) -> bool:
    """Delete the oldest rows of the feed, ``PRUNE_ROWS`` at the most and none above ``through``; whether more are left
    to delete. What pieces there are of turns is folded before; the newest row stays, so no seq is given twice."""
    rows = tx.execute(
        "SELECT seq, turn_pk, kind FROM feed WHERE seq <= ? AND seq < (SELECT max(seq) FROM feed) ORDER BY seq LIMIT ?",
        (through, PRUNE_ROWS),
    ).fetchall()
    if not rows:
        return False
    last = rows[-1][0]
    _fold_pieces_through(tx, last)
    tx.execute("DELETE FROM feed WHERE seq <= ?", (last,))
    tx.execute("UPDATE store SET pruned_seq = ?", (last,))
    for turn_pk in {turn_pk for _, turn_pk, kind in rows if kind == "updated"}:
        _delete_replaced_text(tx, turn_pk, last)
    return len(rows) == PRUNE_ROWS


def _fold_pieces_through(tx: Transaction, last: int) -> None:
    """Pieces that are in the feed alone would be lost with it."""
    unfolded = tx.execute(
        "SELECT DISTINCT t.pk FROM turn t JOIN feed f ON f.turn_pk = t.pk AND f.chunk >= t.folded_chunks"
        " WHERE t.status = 'streaming' AND f.seq <= ?",
        (last,),
    ).fetchall()
    for (turn_pk,) in unfolded:
        stored = turn_by_pk(tx.connection, turn_pk)
        total = stored.content_bytes + stored.raw_response_bytes
        # A piece that goes must not be the one that says how the turn stands.
        update(tx, "turn", turn_pk, {**stored.standing(), "seq": stored.seq})
        fold(tx, turn_pk, stored.text.folded_chunks, stored.chunk_count, total)


def _delete_replaced_text(tx: Transaction, turn_pk: int, last: int) -> None:
    """Text that was replaced, once the feed no longer names it."""
    tx.execute(
        "DELETE FROM text WHERE turn_pk = ? AND pk <= ?"
        " AND pk < (SELECT min(content_pk, raw_response_pk) FROM turn WHERE pk = text.turn_pk)",
        (turn_pk, last),
    )


def free_pages(connection: Connection) -> int:
    """Pages of the file that hold nothing."""
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def give_back(tx: Transaction) -> bool:
    """Give some free pages back to the file system; whether there were any."""
    pages = min(free_pages(tx.connection), VACUUM_PAGES)
    for _ in range(pages):
        # One at a time: the pragma frees a page whenever it is stepped, and sqlite3 steps what gives no rows only once.
        tx.execute("PRAGMA incremental_vacuum(1)")
    return pages > 0


def checkpoint(database: Database) -> None:
    """Copy the -wal into the file and make it empty, unless somebody reads from it just now: it never shrinks by
    itself."""
    empty_wal(database.writer)


def empty_wal(connection: Connection) -> None:
    """The same with any connection that may write."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
