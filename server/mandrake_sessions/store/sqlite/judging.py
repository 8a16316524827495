"""Whether a statement failed because of the file, or because it is wrong: a bug must not pass for damage.

Our statements respect the schema and its constraints as long as the file has our schema and its rows agree with each
other. So after a failure this module compares the file with that.
"""

from __future__ import annotations

import logging
import os
import sqlite3

from mandrake_sessions.errors import StorageFailure, Unreadable
from mandrake_sessions.store.sqlite.deep_check import deep_check
from mandrake_sessions.store.sqlite.failures import primary_code
from mandrake_sessions.store.sqlite.problems import Problem
from mandrake_sessions.store.sqlite.reading import reading
from mandrake_sessions.store.sqlite.schema import missing_parts

logger = logging.getLogger(__name__)

# The rows of a larger file are not checked while the caller waits. It gets the benefit of the doubt, and the log gets
# the traceback.
JUDGED_BYTES = 4 * 1024 * 1024


def judge(error: sqlite3.Error, path: str) -> Unreadable | None:
    """What in the file caused the error; None if nothing did, and the fault is our own."""
    try:
        with reading(path) as connection:
            if problems := missing_parts(connection).problems:
                return _odd("schema", problems[0], path)
            if primary_code(error) != sqlite3.SQLITE_CONSTRAINT:
                return None
            if os.stat(path).st_size > JUDGED_BYTES:  # noqa: PTH116
                logger.error("%s: a constraint failed", path, exc_info=error)
                return Unreadable("table", _table_of(error), "rows of it may contradict each other", path)
            if problems := deep_check(connection):
                return _odd(_table_of(error), problems[0], path)
    except (StorageFailure, OSError):
        # The file cannot be examined; the next request reports its fault.
        logger.exception("%s: a statement failed, and why cannot be found out", path)
    return None


def _odd(name: str, problem: Problem, path: str) -> Unreadable:
    return Unreadable("table", name, problem.text, path)


def _table_of(error: sqlite3.Error) -> str:
    """The table that SQLite names, as in ``UNIQUE constraint failed: turn.id``."""
    return str(error).rpartition(": ")[2].partition(".")[0]
