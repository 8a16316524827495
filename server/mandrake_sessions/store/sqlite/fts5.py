"""Whether this build of SQLite can search."""

from __future__ import annotations

import sqlite3
from functools import cache
from typing import Final

from mandrake_sessions.errors import StorageFailure, StorageReason
from mandrake_sessions.store.sqlite.search_tables import has_fts5

NO_FTS5: Final = (
    f"nothing can be searched: the SQLite of this Python ({sqlite3.sqlite_version}) has no FTS5 with trigrams; use a"
    " Python whose SQLite has it"
)


@cache
def can_search() -> bool:
    """Whether this build of SQLite can."""
    return has_fts5()


def require_fts5() -> None:
    """Raises StorageFailure where this build of SQLite has no FTS5."""
    if not can_search():
        raise StorageFailure(StorageReason.OPEN, NO_FTS5, "")
