"""SQL of pruning: which sessions nobody has touched for long, and what they take."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from mandrake_sessions.model import PrunableSession
from mandrake_sessions.store.interface import Dialect, Sql
from mandrake_sessions.store.sql.selection import Selection
from mandrake_sessions.store.sql.sessions import SHOWN

# When the last piece of any of its turns came: appends do not move `updated_at`.
_LAST_PIECE = """
(SELECT max(f.at) FROM turn t JOIN feed f ON f.seq = (
    SELECT l.seq FROM feed l WHERE l.turn_pk = t.pk AND l.chunk IS NOT NULL ORDER BY l.chunk DESC LIMIT 1)
 WHERE t.session_pk = s.pk)
"""


class _Untouched(NamedTuple):
    """A session that nobody has touched; ``last_change``: milliseconds since the epoch."""

    pk: int
    id: str
    title: str | None
    preview: str | None
    archived: int
    last_change: int
    round_count: int


_SELECTION = Selection.as_stored(
    _Untouched,
    "s",
    archived="s.archived_at IS NOT NULL",
    last_change=lambda dialect: dialect.greatest("s.updated_at", f"coalesce({_LAST_PIECE}, 0)"),
)


def untouched_sessions(sql: Sql, before: int, *, archived: bool) -> list[PrunableSession]:
    """Sessions that were last changed before a time (milliseconds since the epoch), oldest first, with their sizes;
    with ``archived`` only those that are. Never one that streams."""
    rows = sql.execute(_untouched(sql.dialect, "ORDER BY last_change"), (before, archived, before)).fetchall()
    return [
        PrunableSession(
            id=found.id,
            title=found.title or found.preview or None,
            archived=bool(found.archived),
            last_change=found.last_change,
            round_count=found.round_count,
            **_sizes(sql, found.pk),
        )
        for found in map(_Untouched._make, rows)
    ]


def is_untouched(sql: Sql, session_id: str, before: int, *, archived: bool) -> bool:
    """Whether it is one of them, still."""
    values = (before, archived, before, session_id)
    return sql.execute(_untouched(sql.dialect, "AND id = ?"), values).fetchone() is not None


@cache
def _untouched(dialect: Dialect, rest: str) -> str:
    """Its values: the time, whether only those that are archived, and the time again."""
    return f"""
    SELECT * FROM (
        SELECT {_SELECTION.sql(dialect)} FROM session s
        WHERE {SHOWN} AND s.updated_at < ? AND (s.archived_at IS NOT NULL OR NOT ?)
          AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.session_pk = s.pk AND t.status = 'streaming')
    ) AS found
    WHERE last_change < ? {rest}
    """


def _sizes(sql: Sql, pk: int) -> dict[str, int]:
    return {
        f"{name}_bytes": sum(int(size or 0) for statement in statements for (size,) in sql.execute(statement, (pk,)))
        for name, statements in _size_statements(sql.dialect).items()
    }


@cache
def _size_statements(dialect: Dialect) -> Mapping[str, tuple[str, ...]]:
    """Bytes, by what they are, of one session, whose pk is the value of each statement."""

    def lengths(alias: str, *columns: str) -> str:
        return "SELECT sum(" + " + ".join(f"coalesce({dialect.byte_length(f'{alias}.{c}')}, 0)" for c in columns) + ")"

    requests = "FROM round r JOIN request q ON q.pk = r.pk WHERE r.session_pk = ?"
    calls = "FROM turn t JOIN tool_call c ON c.turn_pk = t.pk WHERE t.session_pk = ?"
    changes = lengths("f", "content", "raw_response", "data")
    return {
        "texts": (
            f"{lengths('q', 'content', 'blocks')} {requests}",
            "SELECT sum(content_bytes) FROM turn WHERE session_pk = ?",
        ),
        "raw_responses": ("SELECT sum(raw_response_bytes) FROM turn WHERE session_pk = ?",),
        "tool_calls": (f"{lengths('c', 'metadata', 'arguments', 'response', 'content', 'locations')} {calls}",),
        "metadata": (
            f"{lengths('s', 'metadata', 'title', 'description', 'preview')} FROM session s WHERE s.pk = ?",
            f"{lengths('r', 'metadata')} FROM round r WHERE r.session_pk = ?",
            f"{lengths('t', 'metadata', 'error')} FROM turn t WHERE t.session_pk = ?",
        ),
        "originals": (
            "SELECT sum(length(b.bytes)) FROM original_file f JOIN original_block b ON b.file_pk = f.pk"
            " WHERE f.session_pk = ?",
        ),
        "feed": (
            f"{changes} FROM feed f WHERE f.session_pk = ?",
            f"{changes} FROM turn t JOIN feed f ON f.turn_pk = t.pk WHERE t.session_pk = ?",
        ),
    }
