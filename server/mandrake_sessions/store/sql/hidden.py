"""SQL of sessions that are being copied into, in several transactions.

Until the last of them such a session is hidden: its ``copying_lease`` names the process that writes it, no list and no
look-up shows it, nobody knows an id of what is in it, and the feed says nothing of it. Copied rows take numbers like
all others. ``store.copied_seq`` is the last of them: up to it the feed need not have a change for each number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mandrake_sessions.ids import new_id
from mandrake_sessions.store.interface import Sql, Transaction
from mandrake_sessions.store.sql import originals, rounds, sessions, turns
from mandrake_sessions.store.sql.copying import Copy, Part
from mandrake_sessions.store.sql.leases import NO_LEASE
from mandrake_sessions.store.sql.rows import insert, update
from mandrake_sessions.store.sql.selection import Selection
from mandrake_sessions.store.sql.values import is_uuid

# Rows of a text (one has at most ``SLICE_BYTES`` of a long text) or tool calls that one step deletes.
_REMOVED_ROWS = 4
# Blocks of the files that it was brought in from, of which each has 64 KiB at the most.
_REMOVED_BLOCKS = 16


def insert_hidden(tx: Transaction, columns: Mapping[str, Any], at: int) -> Copy:
    """A new session that nobody is shown; this process writes it."""
    copy = Copy(tx.next_seq(), new_id(), at)
    times = {"active_at": at, "created_at": at, "updated_at": at}
    own = {"id": copy.id, "copying_lease": tx.own_lease_id() or NO_LEASE, "seq": copy.pk, "pk": copy.pk}
    insert(tx, "session", {**columns, **times, **own})
    sessions.keep_words(tx, copy.pk)
    _keep_number(tx)
    return copy


def write_parts(tx: Transaction, copy: Copy, parts: Iterable[Part]) -> bool:
    """Write parts of a copy, each taken when the one before is written, and say so in its row; whether that is still
    there. The row agrees with what is written then, so the deep check finds nothing wrong with half a copy."""
    for part in parts:
        part.write(tx, copy)
    _keep_number(tx)
    statement = (
        "UPDATE session SET preview = ?, round_count = ?, next_round_index = ?, active_at = ?, updated_at = ?,"
        f" state = {sessions.STATE_NOW} WHERE pk = ? AND copying_lease IS NOT NULL"
    )
    now = max(tx.now, copy.active_at)
    values = (copy.preview, copy.round_count, copy.next_round_index, copy.active_at, now, copy.pk)
    is_there = tx.sql.execute(statement, values).rowcount == 1
    sessions.keep_words(tx, copy.pk)
    return is_there


def show(tx: Transaction, copy: Copy, columns: Mapping[str, Any], create_hash: bytes | None) -> int | None:
    """Let everybody see the copy, with these columns too; gives the seq of that change, None where it is gone."""
    if not _is_hidden(tx.sql, copy.pk):
        return None
    seq = tx.next_seq()
    own = {"copying_lease": None, "create_hash": create_hash, "updated_at": tx.now, "seq": seq}
    update(tx, "session", copy.pk, {**columns, **own})
    sessions.keep_words(tx, copy.pk)
    return seq


class HiddenSession(NamedTuple):
    """A session that is being copied into, or was when its process ended. ``lease``: that process; ``updated_at``: when
    it was last written to."""

    pk: int
    id: str
    lease: str
    updated_at: int


_HIDDEN = Selection.as_stored(HiddenSession, "s", lease="s.copying_lease")


def hidden_sessions(sql: Sql) -> list[HiddenSession]:
    """The sessions that are half copies. Where the feed tells of one, or the lease is none, the value is damaged and
    the session is not: it must not be deleted."""
    statement = (
        f"SELECT {_HIDDEN.sql(sql.dialect)} FROM session s WHERE s.copying_lease IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM feed f WHERE f.session_pk = s.pk) ORDER BY s.pk"
    )
    return [found for found in map(HiddenSession._make, sql.execute(statement)) if is_uuid(found.lease)]


def remove_some(tx: Transaction, pk: int) -> bool:
    """Delete a few rows of a hidden session, the last of all its own; whether there was one. Each statement of it is
    short, and deletes about 1 MiB at the most, or one row."""
    if not _is_hidden(tx.sql, pk):
        return False
    turn = tx.sql.execute("SELECT pk FROM turn WHERE session_pk = ? LIMIT 1", (pk,)).fetchone()
    if turn is not None:
        for table in ("text", "tool_call"):
            statement = f"DELETE FROM {table} WHERE pk IN (SELECT pk FROM {table} WHERE turn_pk = ? LIMIT ?)"
            if tx.sql.execute(statement, (*turn, _REMOVED_ROWS)).rowcount == _REMOVED_ROWS:
                return True
        turns.delete_turn(tx, *turn)
        return True
    found = tx.sql.execute("SELECT pk FROM round WHERE session_pk = ? LIMIT 1", (pk,)).fetchone()
    if found is not None:
        rounds.delete_round(tx, *found)
    elif not originals.remove_some(tx, pk, _REMOVED_BLOCKS):
        sessions.delete_session(tx, pk)
    return True


def _keep_number(tx: Transaction) -> None:
    """The rows may be deleted again, and a store whose numbers go back would be taken for another one."""
    tx.sql.execute("UPDATE store SET copied_seq = ?", (tx.seq,))


def _is_hidden(sql: Sql, pk: int) -> bool:
    statement = "SELECT 1 FROM session WHERE pk = ? AND copying_lease IS NOT NULL"
    return sql.execute(statement, (pk,)).fetchone() is not None
