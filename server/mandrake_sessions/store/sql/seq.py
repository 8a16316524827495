"""The number of the store's last change."""

from __future__ import annotations

from mandrake_sessions.store.interface import Sql
from mandrake_sessions.store.sql.values import MAX_NUMBER

_LAST_SEQ = f"""
SELECT max(coalesce((SELECT max(seq) FROM feed), 0),
           coalesce((SELECT max(seq) FROM session WHERE seq < {MAX_NUMBER}), 0),
           coalesce((SELECT max(pk) FROM text WHERE pk < {MAX_NUMBER}), 0))
"""


def last_seq(sql: Sql) -> int:
    """The store's ``seq`` as the connection sees it; 0 before the first change.

    Sessions and texts are looked at too: where the feed has lost its newest rows, no number may be given twice.
    """
    (seq,) = sql.execute(_LAST_SEQ).fetchone()
    return int(seq)
