"""The number of the store's last change."""

from __future__ import annotations

from functools import cache

from mandrake_sessions.store.interface import Dialect, Sql
from mandrake_sessions.store.sql.values import MAX_NUMBER


def last_seq(sql: Sql) -> int:
    """The store's ``seq`` as the connection sees it; 0 before the first change.

    Sessions and texts are looked at too: where the feed has lost its newest rows, no number may be given twice. So are
    the numbers of copies, which the feed does not have.
    """
    (seq,) = sql.execute(_last_seq(sql.dialect), (False, True)).fetchone()
    return int(seq)


@cache
def _last_seq(dialect: Dialect) -> str:
    # As the index has them, which begins with whether a session is archived: one look at the end of each part.
    of_sessions = f"(SELECT max(seq) FROM session WHERE (archived_at IS NOT NULL) = ? AND seq < {MAX_NUMBER})"
    newest = (
        "(SELECT max(seq) FROM feed)",
        of_sessions,
        of_sessions,
        f"(SELECT max(pk) FROM text WHERE pk < {MAX_NUMBER})",
        f"(SELECT max(copied_seq) FROM store WHERE copied_seq < {MAX_NUMBER})",
    )
    return f"SELECT {dialect.greatest(*(f'coalesce({number}, 0)' for number in newest))}"
