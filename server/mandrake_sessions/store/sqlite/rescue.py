"""Saves what only the -wal held, after somebody deleted or moved an open database, its -wal or its -shm.

The files exist as long as this process has them open. Processes that open the database now do not see their content. So
the process saves the content and closes the files as soon as it can.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.sqlite.backup import create_private_file
from mandrake_sessions.store.sqlite.diagnosis import Diagnosis
from mandrake_sessions.store.sqlite.identity import DATABASE, SHM, WAL

logger = logging.getLogger(__name__)

# The history and one change in it: two files that agree in both hold the same changes up to that one.
_CHANGE = "SELECT store_id, seq, at, feed.kind, session_pk, turn_pk, chunk FROM feed, store"


class Rescue:
    """Saves what only a lost -wal of an open file holds; once, since nothing is written after it. ``copy``: the path of
    the file with what was saved, if that is not the database itself."""

    def __init__(self, path: str, diagnosis: Diagnosis) -> None:
        self.copy: str | None = None
        self._path = path
        self._diagnosis = diagnosis
        self._is_done = False

    def save(self, writer: sqlite3.Connection, lost: frozenset[str]) -> None:
        """Raises StoreError; then it can be tried again."""
        if lost and not self._is_done and self._diagnosis.may_be_written:
            with self._diagnosis.domain_errors():
                self.copy = rescue(writer, self._path, lost)
            self._is_done = True


def rescue(writer: sqlite3.Connection, path: str, lost: frozenset[str]) -> str | None:
    """Save what a lost -wal holds in a place where it is found again. ``writer`` is in no transaction, and its caller
    closes it soon.

    If the -shm still exists, all processes share their locks, and SQLite can copy the -wal into the database. If it is
    gone too, other processes may have created new files, and writing old pages over theirs would damage the database.
    Then the state that this process sees becomes a file of its own; gives its path.
    """
    if DATABASE in lost:
        # The open -wal and -shm belong to the open file, wherever that is now. If the file was deleted, this does no
        # harm.
        with suppress(sqlite3.OperationalError):
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return None
    if SHM in lost:
        return _copy_of_lost(writer, path)
    if file_size(path + WAL):
        # Another process has already done this, and has written since.
        logger.warning("%s-wal was replaced; the process that replaced it saved what it held", path)
        return None
    _busy, frames, copied = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if copied < frames or frames < 0:
        # Another process still reads from an older state, or (then there are no figures) does the same work.
        return _copy_of_lost(writer, path)
    logger.warning("%s-wal was deleted while the database was open; what it held is saved", path)
    return None


def rescued_copies(path: str) -> list[str]:
    """The files that ``rescue`` has kept beside a database, as far as the directory can be listed now."""
    begin = os.path.basename(path) + ".rescued-"  # noqa: PTH119
    directory = os.path.dirname(path)  # noqa: PTH120
    try:
        names = os.listdir(directory)  # noqa: PTH208
    except OSError:
        return []
    return sorted(os.path.join(directory, name) for name in names if name.startswith(begin))  # noqa: PTH118


def drop_needless_copy(kept: str, opened: sqlite3.Connection, path: str) -> None:
    """Log where the copy is. Or delete it, if the database that is open now has all of it: SQLite copies the -wal when
    the last connection of all closes."""
    needless = False
    # A change that cannot be read is not proven to be in both.
    with suppress(sqlite3.Error), closing(sqlite3.connect(kept)) as copy:
        last = copy.execute(f"{_CHANGE} ORDER BY seq DESC LIMIT 1").fetchone()
        needless = (
            _is_new(copy) if last is None else opened.execute(f"{_CHANGE} WHERE seq = ?", (last[1],)).fetchone() == last
        )
    if needless:
        Path(kept).unlink()
        logger.warning("the -wal or -shm of %s was deleted while the database was open; nothing was lost", path)
    else:
        logger.warning(
            "the -wal or -shm of %s was deleted while the database was open; what was in it is kept as %s", path, kept
        )


def _is_new(copy: sqlite3.Connection) -> bool:
    """Whether nothing was stored in it yet."""
    (rows,) = copy.execute("SELECT EXISTS (SELECT 1 FROM feed) + EXISTS (SELECT 1 FROM session)").fetchone()
    return int(rows) == 0


def _copy_of_lost(writer: sqlite3.Connection, path: str) -> str | None:
    copy = copy_state(writer, path)
    if copy is None:
        logger.error(
            "the -wal or -shm of %s was deleted while the database was open, and what was in it could not be saved",
            path,
        )
    return copy


def copy_state(writer: sqlite3.Connection, path: str) -> str | None:
    """Copy the state that a connection sees into a file of its own; gives its path, or None where it is damaged.

    Raises:
        sqlite3.Error: it could not be copied.
    """
    # Other processes rescue at the same moment.
    destination = f"{path}.rescued-{now_ms()}-{os.getpid()}.backup"
    create_private_file(destination, path)
    try:
        with closing(sqlite3.connect(destination)) as copy:
            writer.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").fetchone()
            whole = copy.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
    except sqlite3.Error:
        # The disk may be full: half a copy is useless.
        Path(destination).unlink()
        raise
    if whole:
        return destination
    Path(destination).unlink()
    return None
