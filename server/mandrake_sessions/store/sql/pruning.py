"""SQL of pruning: which sessions nobody has touched for long, and what they take."""

from __future__ import annotations

from mandrake_sessions.model import PrunableSession
from mandrake_sessions.store.interface import Sql

# When the last piece of any of its turns came: appends do not move `updated_at`.
_LAST_PIECE = """
(SELECT max(f.at) FROM turn t JOIN feed f ON f.seq = (
    SELECT l.seq FROM feed l WHERE l.turn_pk = t.pk AND l.chunk IS NOT NULL ORDER BY l.chunk DESC LIMIT 1)
 WHERE t.session_pk = s.pk)
"""
_FOUND = f"""
SELECT s.id, s.title, s.archived_at IS NOT NULL, max(s.updated_at, coalesce({_LAST_PIECE}, 0)) AS last_change,
       s.round_count, s.pk
FROM session s
WHERE s.updated_at < :before AND (s.archived_at IS NOT NULL OR NOT :archived)
  AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.session_pk = s.pk AND t.status = 'streaming')
"""
_OLD = f"SELECT * FROM ({_FOUND}) WHERE last_change < :before"


def _lengths(alias: str, *columns: str) -> str:
    return (
        "coalesce(sum(" + " + ".join(f"coalesce(length(CAST({alias}.{name} AS BLOB)), 0)" for name in columns) + "), 0)"
    )


# Bytes, by what they are, of one session.
_SIZES = {
    "texts": f"SELECT {_lengths('q', 'content', 'blocks')} FROM round r JOIN request q ON q.pk = r.pk"
    " WHERE r.session_pk = :pk UNION ALL"
    " SELECT coalesce(sum(content_bytes), 0) FROM turn WHERE session_pk = :pk",
    "raw_responses": "SELECT coalesce(sum(raw_response_bytes), 0) FROM turn WHERE session_pk = :pk",
    "tool_calls": f"SELECT {_lengths('c', 'metadata', 'arguments', 'response', 'content', 'locations')}"
    " FROM turn t JOIN tool_call c ON c.turn_pk = t.pk WHERE t.session_pk = :pk",
    "metadata": f"SELECT {_lengths('s', 'metadata', 'title', 'description', 'preview')} FROM session s WHERE s.pk = :pk"
    f" UNION ALL SELECT {_lengths('r', 'metadata')} FROM round r WHERE r.session_pk = :pk"
    f" UNION ALL SELECT {_lengths('t', 'metadata', 'error')} FROM turn t WHERE t.session_pk = :pk",
    "feed": f"SELECT {_lengths('f', 'content', 'raw_response', 'data')} FROM feed f WHERE f.session_pk = :pk UNION ALL"
    f" SELECT {_lengths('f', 'content', 'raw_response', 'data')} FROM turn t JOIN feed f ON f.turn_pk = t.pk"
    " WHERE t.session_pk = :pk",
}


def untouched_sessions(sql: Sql, before: int, *, archived: bool) -> list[PrunableSession]:
    """Sessions that were last changed before a time (milliseconds since the epoch), oldest first, with their sizes;
    with ``archived`` only those that are. Never one that streams."""
    rows = sql.execute(f"{_OLD} ORDER BY last_change", {"before": before, "archived": archived}).fetchall()
    return [
        PrunableSession(session_id, title, bool(is_archived), last_change, rounds, **_sizes(sql, pk))
        for session_id, title, is_archived, last_change, rounds, pk in rows
    ]


def is_untouched(sql: Sql, session_id: str, before: int, *, archived: bool) -> bool:
    """Whether it is one of them, still."""
    values = {"before": before, "archived": archived, "id": session_id}
    return sql.execute(f"{_OLD} AND id = :id", values).fetchone() is not None


def _sizes(sql: Sql, pk: int) -> dict[str, int]:
    return {
        f"{name}_bytes": sum(size for (size,) in sql.execute(statement, {"pk": pk}))
        for name, statement in _SIZES.items()
    }
