"""Mends of the feed."""

from __future__ import annotations

import json
from itertools import islice

from mandrake_sessions.ids import new_id, now_ms
from mandrake_sessions.model import ChangeKind
from mandrake_sessions.store.sql.changes import unreadable_changes
from mandrake_sessions.store.sql.values import MAX_NUMBER
from mandrake_sessions.store.sqlite.checkup import delete_stray_changes
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.deep_feed import MISPLACED, SESSION_SEQS, TURN_SEQS
from mandrake_sessions.store.sqlite.deep_rules import copied_seq
from mandrake_sessions.store.sqlite.schema import columns_of

# How many changes one step deletes: it holds their numbers, and each step reads the feed from its beginning.
_STEP_CHANGES = 100_000

_KINDS = ", ".join(f"'{kind.value}'" for kind in ChangeKind)


def next_number(connection: StoreConnection) -> int:
    """A number above every number in use, whatever the feed has lost."""
    tables = ("feed.seq", "session.seq", "session.pk", "round.pk", "turn.seq", "turn.pk", "text.pk")
    highest = copied_seq(connection)
    for table, column in (name.split(".") for name in tables):
        statement = f"SELECT coalesce(max({column}), 0) FROM {table} WHERE {column} < {MAX_NUMBER // 2}"
        highest = max(highest, connection.execute(statement).fetchone()[0])
    return highest + 1


def mend_numbers(connection: StoreConnection) -> None:
    """Give pieces of text the next number, and delete other changes: the state that follows a reset includes them."""
    odd = f"(seq < 1 OR seq > {MAX_NUMBER})"
    connection.execute(f"DELETE FROM feed WHERE {odd} AND chunk IS NULL")
    for (seq,) in connection.execute(f"SELECT seq FROM feed WHERE {odd} ORDER BY turn_pk, chunk").fetchall():
        connection.execute("UPDATE feed SET seq = ? WHERE seq = ?", (next_number(connection), seq))
    mark(connection)


def mend_feed(connection: StoreConnection) -> None:
    connection.execute(f"UPDATE feed SET kind = 'appended' WHERE kind NOT IN ({_KINDS}) AND chunk >= 0")
    connection.execute("UPDATE feed SET chunk = NULL WHERE kind <> 'appended' AND chunk IS NOT NULL")
    connection.execute(f"UPDATE feed SET at = {now_ms()} WHERE at < 0")
    for column in ("current_tokens", "output_tokens", "content_bytes", "raw_response_bytes"):
        connection.execute(
            f"UPDATE feed SET {column} = coalesce((SELECT {column} FROM turn WHERE pk = feed.turn_pk), 0)"
            f" WHERE kind = 'appended' AND ({column} IS NULL OR {column} < 0)"
        )
    connection.execute(
        f"DELETE FROM feed WHERE kind NOT IN ({_KINDS})"
        f" OR kind = 'appended' AND (turn_pk IS NULL OR chunk IS NULL OR chunk < 0 OR chunk > {MAX_NUMBER})"
    )
    # The pieces of a turn hold its text.
    connection.execute(
        "UPDATE feed SET session_pk = NULL, round_pk = NULL"
        " WHERE chunk IS NOT NULL AND (session_pk IS NOT NULL OR round_pk IS NOT NULL)"
    )
    connection.execute(f"DELETE FROM feed WHERE chunk IS NULL AND {MISPLACED}")
    while delete_stray_changes(connection, newest_too=True):
        pass
    while gone := [(seq,) for seq, _ in islice(unreadable_changes(connection), _STEP_CHANGES)]:
        if not connection.executemany("DELETE FROM feed WHERE seq = ?", gone).rowcount:
            break
    _raise_seqs(connection)
    mark(connection)


def _raise_seqs(connection: StoreConnection) -> None:
    """Raise the ``seq`` of turns and sessions to that of their last change. It stays where the feed has lost that."""
    for table, seqs in (("turn", TURN_SEQS), ("session", SESSION_SEQS)):
        low = f"SELECT e.pk, e.last FROM ({seqs}) e WHERE e.seq < e.last AND e.last <= {MAX_NUMBER}"
        # Two sessions cannot have one number.
        free = " AND NOT EXISTS (SELECT 1 FROM session s WHERE s.seq = low.last)" if table == "session" else ""
        connection.execute(f"UPDATE {table} SET seq = low.last FROM ({low}) low WHERE {table}.pk = low.pk{free}")


def mark(connection: StoreConnection) -> None:
    """Add a change with a new number and keep nothing before it, so that every subscriber reads the state again.

    The number before it is one that nobody has seen: also a subscriber with all changes so far is behind then.
    """
    seq = next_number(connection) + 1
    # An older schema has no copies.
    shown = "WHERE copying_lease IS NULL" if "copying_lease" in columns_of(connection, "session") else ""
    session = connection.execute(f"SELECT pk FROM session {shown} ORDER BY seq DESC LIMIT 1").fetchone()
    if session is not None:
        kind, pk, data = ChangeKind.SESSION_UPDATED, session[0], None
        connection.execute("UPDATE session SET seq = ? WHERE pk = ?", (seq, pk))
    else:
        kind, pk, data = ChangeKind.SESSION_DELETED, None, json.dumps({"session_id": new_id()})
    connection.execute(
        "INSERT INTO feed (seq, at, kind, session_pk, data) VALUES (?, ?, ?, ?, ?)",
        (seq, now_ms(), kind.value, pk, data),
    )
    connection.execute("UPDATE store SET pruned_seq = ?", (seq - 1,))
