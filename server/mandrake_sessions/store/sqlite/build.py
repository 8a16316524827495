"""Facts about the build of SQLite that this Python has."""

from __future__ import annotations

import sqlite3

_FIRST_WITH_WAL = (3, 7, 0)
_FIRST_FIXED = (3, 51, 3)
_ALSO_FIXED = ((3, 44, 6), (3, 50, 7))
WAL_RESET_BUG = "this SQLite has the WAL-reset bug, which can damage a file in rare races"
WAL_RESET_ADVICE = "use a Python with SQLite 3.51.3 or newer, or exactly 3.50.7 or 3.44.6"


def sqlite_version() -> str:
    return sqlite3.sqlite_version


def has_wal_reset_bug(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Whether a version has the bug: 3.7.0 to 3.51.2, except two releases that got the fix too."""
    return _FIRST_WITH_WAL <= version < _FIRST_FIXED and version not in _ALSO_FIXED
