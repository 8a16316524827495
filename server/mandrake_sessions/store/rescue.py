"""When an open database, its -wal or its -shm were deleted or moved: what only the -wal held must not go with it.

The files live on as long as this process has them open. Others that open the database now do not see what is in them,
so the sooner they are given up, after their content is safe, the better.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.backup import create_private_file
from mandrake_sessions.store.identity import DATABASE, SHM, WAL

logger = logging.getLogger(__name__)


def rescue(writer: sqlite3.Connection, path: str, lost: frozenset[str]) -> None:
    """Put what a deleted -wal holds where it is found again. ``writer`` is in no transaction, and is to be closed next.

    With the -shm still there all processes share their locks, so the -wal can be copied into the database as ever. If
    that went too, others may have begun new ones, and writing old pages over theirs would damage the file: then what
    this process sees becomes a file of its own.
    """
    if DATABASE in lost:
        # The -wal and -shm that are open belong to the file that is open, wherever it is now. If it was deleted this
        # does no harm.
        with suppress(sqlite3.OperationalError):
            writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    elif SHM in lost:
        _copy(writer, path)
    elif _size(path + WAL):
        # Another process was first: it has done this, and has written since.
        logger.warning("%s-wal was replaced; what it held was saved by who replaced it", path)
    else:
        _busy, frames, copied = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        logger.warning("%s-wal was deleted while the database was open; what it held is saved", path)
        if copied < frames:
            _copy(writer, path)


def _copy(writer: sqlite3.Connection, path: str) -> None:
    destination = f"{path}.rescued-{now_ms()}.backup"
    create_private_file(destination)
    try:
        with closing(sqlite3.connect(destination)) as copy:
            writer.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").fetchone()
            whole = copy.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
    except sqlite3.Error:
        # The disk is full, say: half a copy is none.
        Path(destination).unlink()
        raise
    if whole:
        logger.warning(
            "%s-shm was deleted while the database was open; what was in it is kept as %s", path, destination
        )
    else:
        Path(destination).unlink()
        logger.error("%s-shm was deleted while the database was open, and what was in it could not be saved", path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0
