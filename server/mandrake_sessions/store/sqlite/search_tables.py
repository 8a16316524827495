"""The tables of a search index, and its statements.

Texts are in shards of two FTS5 tables each, which hold no text themselves (``content=''``): ``words_N`` finds words and
phrases, ``trigrams_N`` the documents that may have a part of a word. Such a table can only forget a text that it is
given again, which is gone by then. So ``document`` says which documents there still are, and a shard of which much was
forgotten is emptied: what is left of it goes into the latest shard, and its tables are dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.sqlite.search_sql import IndexSql

NO_FTS5: Final = (
    f"nothing can be searched: the SQLite of this Python ({sqlite3.sqlite_version}) has no FTS5 with trigrams; use a"
    " Python whose SQLite has it"
)

# A shard takes so many bytes of text.
SHARD_BYTES: Final = 64 * 1024 * 1024

_SCHEMA = (
    # `last`: the greatest number of a document. None is given twice: the shards still know those that were forgotten.
    """CREATE TABLE meta (
        store_id TEXT NOT NULL, position INTEGER NOT NULL, stage INTEGER, scanned INTEGER NOT NULL,
        last INTEGER NOT NULL
    ) STRICT""",
    # `first`: the number of its first document. `dead`: bytes of the documents that were forgotten, since `dead_at`.
    """CREATE TABLE shard (
        pk INTEGER PRIMARY KEY, first INTEGER NOT NULL, bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_at INTEGER
    ) STRICT""",
    """CREATE TABLE document (
        pk INTEGER PRIMARY KEY, session INTEGER NOT NULL, owner INTEGER NOT NULL, part INTEGER NOT NULL,
        call INTEGER NOT NULL, piece INTEGER NOT NULL, seq INTEGER NOT NULL, size INTEGER NOT NULL,
        hash INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX document_by_owner ON document (session, owner)",
    "CREATE TABLE put_off (session INTEGER PRIMARY KEY, after INTEGER NOT NULL) STRICT",
)


def make_tables(connection: sqlite3.Connection, store_id: str, position: int) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES (?, ?, 0, 0, 0)", (store_id, position))


def make_shard(connection: sqlite3.Connection | IndexSql, pk: int, first: int) -> None:
    connection.execute("INSERT INTO shard (pk, first) VALUES (?, ?)", (pk, first))
    # The texts are folded and separated already: see `search_text.py`.
    connection.execute(f"CREATE VIRTUAL TABLE words_{pk} USING fts5(text, content='', tokenize='ascii')")
    connection.execute(
        f"CREATE VIRTUAL TABLE trigrams_{pk} USING fts5(text, content='', columnsize=0, detail=none,"
        " tokenize='trigram case_sensitive 1')"
    )


def drop_shard(connection: IndexSql, pk: int) -> None:
    connection.execute(f"DROP TABLE words_{pk}")
    connection.execute(f"DROP TABLE trigrams_{pk}")
    connection.execute("DELETE FROM shard WHERE pk = ?", (pk,))


def phrase(words: Sequence[str], *, is_prefix: bool = False) -> str:
    """A phrase in FTS5's language. Words hold letters and digits alone."""
    return f'"{" ".join(words)}"{" *" if is_prefix else ""}'


# So many trigrams of a long text are asked for; the text itself is compared afterwards.
_TRIGRAMS = 24


def trigrams(text: str) -> list[str]:
    """Some of the trigrams of a text, in FTS5's language."""
    found = list(dict.fromkeys(text[start : start + 3] for start in range(len(text) - 2)))
    step = max(1, len(found) / _TRIGRAMS)
    chosen = [found[int(index * step)] for index in range(min(len(found), _TRIGRAMS))]
    return ['"' + trigram.replace('"', '""') + '"' for trigram in chosen]


@cache
def can_search() -> bool:
    """Whether this build of SQLite can do all this."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        make_tables(connection, "", 0)
        make_shard(connection, 1, 1)
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return True


def require_fts5() -> None:
    """Raises StorageFailure where this build of SQLite has no FTS5."""
    if not can_search():
        raise StorageFailure(StorageReason.OPEN, NO_FTS5, "")
