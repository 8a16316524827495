"""SQL of what a search index follows: what has changed, what there is, and what is no longer there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from mandrake_sessions.model import ChangeKind, TurnStatus
from mandrake_sessions.store.interface import Dialect, Sql

# In the order in which they are looked through.
TABLES: Final = ("session", "round", "turn")
# So many changes are looked through together, appends included.
FEED_SPAN: Final = 20_000


class FeedRow(NamedTuple):
    """What a change was about. ``kind`` is as it is stored."""

    seq: int
    kind: str
    session_pk: int | None
    round_pk: int | None
    turn_pk: int | None


_CHANGES = f"""
SELECT seq, kind, session_pk, round_pk, turn_pk FROM feed
WHERE seq > ? AND seq <= ? AND kind <> '{ChangeKind.TURN_APPENDED.value}' ORDER BY seq
"""
# A session may bring turns with it that have no changes of their own: a fork does.
_CHANGED_TURNS = f"""
SELECT count(*) FROM (
    SELECT turn_pk FROM feed WHERE seq > ? AND kind <> '{ChangeKind.TURN_APPENDED.value}'
    UNION
    SELECT brought.pk FROM feed f JOIN turn brought ON brought.session_pk = f.session_pk
    WHERE f.seq > ? AND f.kind = '{ChangeKind.SESSION_CREATED.value}'
) AS changed JOIN turn t ON t.pk = changed.turn_pk WHERE t.status <> '{TurnStatus.STREAMING.value}'
"""


def feed_rows(sql: Sql, after: int, through: int) -> Iterator[FeedRow]:
    """The changes but appends, in order."""
    return map(FeedRow._make, sql.execute(_CHANGES, (after, through)))


def has_changes(sql: Sql, after: int) -> bool:
    """Whether there are changes above a seq that are no appends."""
    statement = f"SELECT 1 FROM feed WHERE seq > ? AND kind <> '{ChangeKind.TURN_APPENDED.value}' LIMIT 1"
    return sql.execute(statement, (after,)).fetchone() is not None


def count_changed_turns(sql: Sql, after: int) -> int:
    """Turns that have changed or come since, and do not stream."""
    (count,) = sql.execute(_CHANGED_TURNS, (after, after)).fetchone()
    return int(count)


def count_turns(sql: Sql, after: int, through: int | None = None) -> int:
    """Turns that were made after a seq, and up to another, but for those that stream."""
    bound, values = ("", (after,)) if through is None else (" AND pk <= ?", (after, through))
    (all_of_them,) = sql.execute(f"SELECT count(*) FROM turn WHERE pk > ?{bound}", values).fetchone()
    streaming = f"SELECT count(*) FROM turn WHERE pk > ?{bound} AND status = '{TurnStatus.STREAMING.value}'"
    (still,) = sql.execute(streaming, values).fetchone()
    return int(all_of_them) - int(still)


def count_turns_of_session(sql: Sql, session_pk: int, after: int, through: int) -> int:
    """Its turns from a number on, but for those that stream, and those that have changed after a seq."""
    statement = (
        "SELECT count(*) FROM turn WHERE session_pk = ? AND pk > ? AND seq <= ?"
        f" AND status <> '{TurnStatus.STREAMING.value}'"
    )
    (count,) = sql.execute(statement, (session_pk, after, through)).fetchone()
    return int(count)


def pks_after(sql: Sql, table: str, after: int, limit: int) -> list[int]:
    """The next rows of one of ``TABLES``."""
    rows = sql.execute(f"SELECT pk FROM {table} WHERE pk > ? ORDER BY pk LIMIT ?", (after, limit))
    return [pk for (pk,) in rows]


def entities_of_session(sql: Sql, session_pk: int, after: int, limit: int) -> list[tuple[int, bool]]:
    """The rounds and turns of a session, in the order in which they came; of each, whether it is a turn."""
    statement = (
        "SELECT pk, 0 FROM round WHERE session_pk = ? AND pk > ?"
        " UNION ALL SELECT pk, 1 FROM turn WHERE session_pk = ? AND pk > ? ORDER BY pk LIMIT ?"
    )
    rows = sql.execute(statement, (session_pk, after, session_pk, after, limit))
    return [(pk, bool(is_turn)) for pk, is_turn in rows]


def there(sql: Sql, pks: Iterable[int]) -> set[int]:
    """Those that are sessions, rounds or turns."""
    numbers = sql.dialect.numbers(pks)
    return {pk for (pk,) in sql.execute(_there(sql.dialect), (numbers,) * len(TABLES))}


@cache
def _there(dialect: Dialect) -> str:
    return " UNION ALL ".join(f"SELECT pk FROM {table} WHERE {dialect.among('pk')}" for table in TABLES)
