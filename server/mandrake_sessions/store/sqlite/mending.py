"""Mends what the deep check has found, from the rest of the file. It deletes nothing that can be read.

Each kind of mend is one transaction on a connection of its own, with foreign keys off, since it mends rows that do not
belong together. The caller copies the file first.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing

from attrs import frozen

from mandrake_sessions.errors import SessionsError, Wording
from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.sql.sessions import first_preview
from mandrake_sessions.store.sql.values import MAX_NUMBER, is_uuid
from mandrake_sessions.store.sqlite import checkup
from mandrake_sessions.store.sqlite.connect import StoreConnection, connect
from mandrake_sessions.store.sqlite.deep_check import deep_check
from mandrake_sessions.store.sqlite.deep_originals import mend_originals
from mandrake_sessions.store.sqlite.deep_rules import MAX_COPIED, copied_seq
from mandrake_sessions.store.sqlite.failures import storage_failure
from mandrake_sessions.store.sqlite.immediate import immediate
from mandrake_sessions.store.sqlite.mending_feed import mark, mend_feed, mend_numbers, next_number
from mandrake_sessions.store.sqlite.mending_relations import mend_relations
from mandrake_sessions.store.sqlite.mending_texts import mend_texts
from mandrake_sessions.store.sqlite.mending_values import mend_values
from mandrake_sessions.store.sqlite.migrate import known_migrations, record_migration, user_version
from mandrake_sessions.store.sqlite.problems import Mend
from mandrake_sessions.store.sqlite.schema import (
    altered_parts,
    columns_of,
    expected_parts,
    missing_parts,
    strange_parts,
)

# One mend may reveal what another one has to mend.
_ROUNDS = 4
# Corrected counters cause changes of their sessions, which subscribers receive.
_MOVES_ENTITIES = frozenset({Mend.RELATIONS, Mend.VALUES, Mend.TEXTS})


@frozen
class Mended:
    """One mend that was tried: whether it was done, and a sentence about it."""

    done: bool
    text: str | Wording


def mend(path: str, budget: float) -> list[Mended]:
    """Mend everything possible, until nothing is left or nothing more helps; gives what was done, without
    repetition."""
    found: dict[str, Mended] = {}
    try:
        with closing(connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            for _ in range(_ROUNDS):
                wanted = {problem.mend for problem in deep_check(connection)} & _WORKS.keys()
                if not wanted:
                    break
                for kind, (work, text) in _WORKS.items():
                    if kind in wanted:
                        found[text] = _try(connection, path, budget, _told(kind, work), text)
    except sqlite3.Error as error:
        found["open"] = Mended(False, storage_failure(error, path).worded)
    return list(found.values())


def _told(kind: Mend, work: Callable[[StoreConnection], None]) -> Callable[[StoreConnection], None]:
    """Do the work, then let subscribers read the state again, if the mend changed entities without recording
    changes."""

    def mend_and_tell(connection: StoreConnection) -> None:
        work(connection)
        if kind in _MOVES_ENTITIES and _can_be_marked(connection):
            mark(connection)

    return mend_and_tell


def _can_be_marked(connection: StoreConnection) -> bool:
    return not missing_parts(connection).tables


def _try(
    connection: StoreConnection, path: str, budget: float, work: Callable[[StoreConnection], None], text: str
) -> Mended:
    try:
        with immediate(connection, path, budget):
            work(connection)
    except SessionsError as error:
        wording = error.worded
        return Mended(False, lambda words: f"{text}: {wording(words)}")
    except (sqlite3.Error, ValueError, OverflowError) as error:
        return Mended(False, f"{text}: this cannot be mended automatically ({error}); restore a backup")
    return Mended(True, text)


def _make_tables(connection: StoreConnection) -> None:
    """Create missing parts of the schema again, empty. Later mends correct the rows that refer to them."""
    recorded = (
        {row[0] for row in connection.execute("SELECT version FROM migration")} if _has_ledger(connection) else {0}
    )
    version = max(user_version(connection), *recorded, 0)
    for kind, name in _removable(connection):
        quoted = name.replace('"', '""')
        connection.execute(f'DROP {kind} "{quoted}"')
    present = {(row[0], row[1]) for row in connection.execute("SELECT type, name FROM sqlite_schema")}
    for part, sql in expected_parts(min(version, len(known_migrations()))).items():
        if part not in present:
            connection.execute(sql)
    for migration in known_migrations()[:version]:
        if migration.version not in recorded:
            record_migration(connection, migration)
    if version != user_version(connection):
        connection.execute(f"PRAGMA user_version={version:d}")


def _removable(connection: StoreConnection) -> list[tuple[str, str]]:
    """Parts that other programs put on our tables, and indexes that have to be rebuilt: nothing that holds data."""
    found = strange_parts(connection) + altered_parts(connection)
    return [(kind, name) for kind, name in found if kind in ("trigger", "index")]


def _has_ledger(connection: StoreConnection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone() is not None


def _mend_store_row(connection: StoreConnection) -> None:
    """Make the one row of the store again, with a new ``storeId`` if needed, since the ``seq`` numbers that subscribers
    know may mean nothing any more."""
    rows = connection.execute("SELECT rowid, store_id, pruned_seq, created_at FROM store").fetchall()
    (last,) = connection.execute(f"SELECT coalesce(max(seq), 0) FROM feed WHERE seq <= {MAX_NUMBER}").fetchone()
    good = [row for row in rows if is_uuid(row[1])]
    kept = (good or rows or [None])[0]
    store_id = kept[1] if good and kept is not None and len(rows) == 1 else str(uuid.uuid4())
    pruned = kept[2] if kept is not None and 0 <= kept[2] <= last and len(rows) == 1 else last
    created = kept[3] if kept is not None and kept[3] >= 0 else now_ms()
    row = {"store_id": store_id, "pruned_seq": pruned, "created_at": created}
    if "copied_seq" in columns_of(connection, "store"):
        # Where it is lost, any row may be a copy.
        (is_known,) = connection.execute(f"SELECT max(copied_seq BETWEEN 0 AND {MAX_COPIED}) FROM store").fetchone()
        row["copied_seq"] = copied_seq(connection) if is_known else next_number(connection) - 1
    connection.execute("DELETE FROM store")
    connection.execute(
        f"INSERT INTO store ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
    )


def _mend_counters(connection: StoreConnection) -> None:
    checkup.raise_low_counters(connection)
    for pk in list(checkup.wrong_previews(connection)):
        connection.execute("UPDATE session SET preview = ? WHERE pk = ?", (first_preview(connection, pk), pk))
    checkup.mend_words(connection)


# In the order in which they are done: later mends rely on earlier ones.
_WORKS: dict[Mend, tuple[Callable[[StoreConnection], None], str]] = {
    Mend.TABLES: (
        _make_tables,
        "created missing parts of the schema again, empty, and removed what other programs had put on it",
    ),
    Mend.NUMBERS: (mend_numbers, "gave changes with impossible numbers new ones"),
    Mend.STORE_ROW: (_mend_store_row, "created the row again that says which store this is"),
    Mend.RELATIONS: (mend_relations, "created missing parents of rows again"),
    Mend.VALUES: (mend_values, "replaced unreadable values, and kept their text if they had one"),
    Mend.TEXTS: (mend_texts, "counted the texts of turns again"),
    Mend.ORIGINALS: (mend_originals, "kept the files that sessions were brought in from up to what is damaged of them"),
    Mend.FEED: (mend_feed, "removed unreadable changes from the feed; subscribers read the state again"),
    Mend.COUNTERS: (_mend_counters, "set the next indexes, previews and words right"),
}
