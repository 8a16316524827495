"""SQL that finds rows that do not belong together, and corrects them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from attrs import frozen

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.model import ChangeKind
from mandrake_sessions.store.sql import changes, sessions
from mandrake_sessions.store.sql.hidden import hidden_sessions
from mandrake_sessions.store.sql.leases import NO_LEASE, streaming_leases, turn_ids_of_lease
from mandrake_sessions.store.sqlite.connect import StoreConnection
from mandrake_sessions.store.sqlite.dialect import DIALECT
from mandrake_sessions.store.sqlite.leases import is_dead_lease
from mandrake_sessions.store.sqlite.migrate import latest_version, user_version
from mandrake_sessions.store.sqlite.running import SqliteTransaction
from mandrake_sessions.store.sqlite.schema import columns_of

# Changes about entities that are gone. The change that records a deletion refers to one on purpose.
_STRAY_CHANGES = f"""
FROM feed WHERE seq < (SELECT max(seq) FROM feed) AND (
    turn_pk IS NOT NULL AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.pk = feed.turn_pk)
    OR session_pk IS NOT NULL AND kind <> '{ChangeKind.SESSION_DELETED.value}'
       AND NOT EXISTS (SELECT 1 FROM session s WHERE s.pk = feed.session_pk)
    OR round_pk IS NOT NULL AND NOT EXISTS (SELECT 1 FROM round r WHERE r.pk = feed.round_pk))
"""
_WRONG_COUNTS = """
FROM session s WHERE s.round_count <> (SELECT count(*) FROM round r WHERE r.session_pk = s.pk)
"""
# The state differs from what the turns and the latest round say, or something happened after `active_at`.
_WRONG_STATES = f"""
FROM session WHERE state <> {sessions.STATE_NOW} OR active_at < {sessions.LATEST_MOMENT}
"""
_FIRST_REQUESTS = """
SELECT s.pk, s.preview, (
    SELECT substr(CAST(q.content AS BLOB), 1, ?) FROM round r JOIN request q ON q.pk = r.pk
    WHERE r.session_pk = s.pk ORDER BY r."index" LIMIT 1)
FROM session s
"""
# Counters for the next index of another table's rows: the next index must never have been used.
_LOW_COUNTERS = (
    """UPDATE session SET next_round_index = (SELECT max("index") + 1 FROM round WHERE session_pk = session.pk)
    WHERE next_round_index <= (SELECT max("index") FROM round WHERE session_pk = session.pk)""",
    """UPDATE response SET next_turn_index = (SELECT max("index") + 1 FROM turn WHERE round_pk = response.pk)
    WHERE next_turn_index <= (SELECT max("index") FROM turn WHERE round_pk = response.pk)""",
)
_LOW_COUNTER_ROWS = """
SELECT (SELECT count(*) FROM session
        WHERE next_round_index <= (SELECT max("index") FROM round WHERE session_pk = session.pk))
     + (SELECT count(*) FROM response
        WHERE next_turn_index <= (SELECT max("index") FROM turn WHERE round_pk = response.pk))
"""
# How many rows a repair changes while it holds the write lock.
STEP_ROWS = 1000


@frozen
class FileSpace:
    """The bytes of the file, and how many of them hold nothing."""

    total: int
    free: int


def orphans(connection: StoreConnection, database: str) -> int:
    """How many turns stream for a process that is gone."""
    dead = [lease for lease in streaming_leases(connection) if is_dead_lease(database, lease)]
    return sum(len(turn_ids_of_lease(connection, lease)) for lease in dead)


def half_copies(connection: StoreConnection, database: str) -> int:
    """How many sessions a process that is gone was copying into."""
    if "copying_lease" not in columns_of(connection, "session"):
        # An older schema, which has no forks.
        return 0
    leases = [each.lease for each in hidden_sessions(connection)]
    return sum(lease != NO_LEASE and is_dead_lease(database, lease) for lease in leases)


def stray_changes(connection: StoreConnection) -> int:
    """Changes whose session, round or turn is gone."""
    return _count(connection, f"SELECT count(*) {_STRAY_CHANGES}")


def wrong_counts(connection: StoreConnection) -> int:
    """Sessions with a wrong count of rounds."""
    return _count(connection, f"SELECT count(*) {_WRONG_COUNTS}")


def wrong_states(connection: StoreConnection) -> int:
    """Sessions whose state or last activity is not what their rounds and turns say."""
    return _count(connection, f"SELECT count(*) {_WRONG_STATES}") if user_version(connection) >= latest_version() else 0


def wrong_words(connection: StoreConnection) -> int:
    """Sessions of which lists would look for a query in other texts than their own."""
    if "words" not in columns_of(connection, "session"):
        return 0
    return _count(connection, f"SELECT count(*) FROM session WHERE words IS NOT {sessions.words_now(DIALECT)}")


def mend_words(connection: StoreConnection) -> None:
    """Set right what lists look for a query in."""
    if "words" in columns_of(connection, "session"):
        now = sessions.words_now(DIALECT)
        connection.execute(f"UPDATE session SET words = {now} WHERE words IS NOT {now}")


def wrong_previews(connection: StoreConnection) -> Iterator[int]:
    """The pks of sessions whose preview is not the beginning of their first request."""
    for pk, preview, first in connection.execute(_FIRST_REQUESTS, (sessions.PREVIEW_LENGTH * 4,)):
        # The substr() of an empty blob is NULL, as is that of no request at all.
        content = (first or b"").decode(errors="ignore")
        if (preview or "") != sessions.preview_of(content):
            yield pk


def low_counters(connection: StoreConnection) -> int:
    """Counters that would give an index for the second time."""
    return _count(connection, _LOW_COUNTER_ROWS)


def space(connection: StoreConnection) -> FileSpace:
    page = _count(connection, "PRAGMA page_size")
    return FileSpace(_count(connection, "PRAGMA page_count") * page, _count(connection, "PRAGMA freelist_count") * page)


def delete_strays(tx: SqliteTransaction) -> int:
    """Delete some rows whose parents are gone; gives how many, 0 when there are none left."""
    return _delete_unreferenced(tx) or delete_stray_changes(tx.sql)


def mend_counts(tx: SqliteTransaction) -> int:
    """Set right what some sessions say of their rounds and turns, and record it as a change of each session; gives how
    many."""
    wrong = f"SELECT s.pk {_WRONG_COUNTS} UNION SELECT pk {_WRONG_STATES} LIMIT ?"
    pks = [pk for (pk,) in tx.sql.execute(wrong, (STEP_ROWS,))]
    for pk in pks:
        seq = tx.next_seq()
        sessions.recount_rounds(tx, pk)
        sessions.update_session(tx, pk, {}, seq, active_at=sessions.latest_moment(tx.sql, pk))
        changes.record_session_change(tx, seq, ChangeKind.SESSION_UPDATED, pk)
    return len(pks)


def raise_counters(tx: SqliteTransaction) -> int:
    """Raise counters above the highest index that exists; gives how many."""
    return raise_low_counters(tx.sql)


def raise_low_counters(connection: StoreConnection) -> int:
    return sum(connection.execute(statement).rowcount for statement in _LOW_COUNTERS)


def rebuild_indexes(tx: SqliteTransaction) -> None:
    """Rebuild every index from its table. Raises StorageFailure if a table has rows that its index forbids."""
    try:
        tx.sql.execute("REINDEX")
    except sqlite3.IntegrityError as error:
        (path,) = (row[2] for row in tx.sql.execute("PRAGMA database_list") if row[1] == "main")
        raise StorageFailure(
            StorageReason.CORRUPT, f"the indexes of {path} cannot be rebuilt ({error}); restore a backup", path
        ) from error


def _delete_unreferenced(tx: SqliteTransaction) -> int:
    """Delete rows whose parent is gone, with the rows below them."""
    rows = tx.sql.execute(
        'SELECT DISTINCT "table", rowid FROM pragma_foreign_key_check LIMIT ?', (STEP_ROWS,)
    ).fetchall()
    for table, rowid in rows:
        tx.sql.execute(f'DELETE FROM "{table}" WHERE rowid = ?', (rowid,))
    return len(rows)


def delete_stray_changes(connection: StoreConnection, *, newest_too: bool = False) -> int:
    """Delete some changes about entities that are gone. The newest change stays, unless its caller adds another one
    after it."""
    strays = _STRAY_CHANGES.replace("seq < (SELECT max(seq) FROM feed) AND", "") if newest_too else _STRAY_CHANGES
    return connection.execute(f"DELETE FROM feed WHERE seq IN (SELECT seq {strays} LIMIT ?)", (STEP_ROWS,)).rowcount


def _count(connection: StoreConnection, statement: str) -> int:
    (found,) = connection.execute(statement).fetchone()
    return int(found)
