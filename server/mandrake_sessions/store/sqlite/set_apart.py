"""A store that another program has overwritten in place, in a file of its own.

The new file has another inode. So every process sees that the store was replaced, and none copies an old -wal into it.
What it holds is what was put there: the database with its -wal where the -wal was overwritten too, as a whole directory
that is copied back brings it, else the database alone, to which the old -wal does not belong.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from mandrake_sessions.errors import Busy, StoreError
from mandrake_sessions.store.sqlite.backup import create_private_file
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.diagnosis import damage
from mandrake_sessions.store.sqlite.identity import SHM, WAL
from mandrake_sessions.store.sqlite.opening import find_damage
from mandrake_sessions.store.sqlite.overwritten import Content
from mandrake_sessions.store.sqlite.partial import PartialFile, partial_file
from mandrake_sessions.store.sqlite.rescue import copy_state
from mandrake_sessions.store.sqlite.setup_lock import opening_lock

logger = logging.getLogger(__name__)

# So long it waits for a write of another process, and for one that opens the store.
WAIT_SECONDS = 5.0


def set_apart(database: Database) -> None:
    """Called under the lock of the writer. Where it cannot be done, the database counts as damaged."""
    try:
        # Nobody writes to what is copied, or to what is replaced.
        with database.identity.content.wal.write_lock(WAIT_SECONDS):
            # Another server may have done it.
            if not database.identity.was_replaced:
                _replace(database)
    except (OSError, sqlite3.Error, StoreError) as error:
        logger.warning("%s was overwritten while it was open: %s", database.path, error)
        if not isinstance(error, Busy):
            database.diagnosis.mark_damaged("it was overwritten while it was open")


def _replace(database: Database) -> None:
    path, content = database.path, database.identity.content
    if content.is_overwritten and content.is_emptied:
        raise damage(path, "it was emptied")
    if content.may_be_same:
        _keep_what_is_open(database)
    with partial_file(*os.path.split(path), like=path) as copy:
        has_own_wal = database.history.is_lost or not content.wal.is_same()
        if not (has_own_wal and _copy_with_wal(content, copy)):
            _copy_alone(content, copy, path)
        _give_name(copy)
        copy.take_the_place_of(os.stat(path))  # noqa: PTH116
        with opening_lock(path, WAIT_SECONDS):
            copy.publish(path, replace=True)
            for suffix in (WAL, SHM):
                Path(path + suffix).unlink(missing_ok=True)
    logger.warning("%s was overwritten while it was open; what is in it now is another store", path)


def _keep_what_is_open(database: Database) -> None:
    """The -wal may belong to what is there. In a file of its own, since nothing proves it."""
    copy = copy_state(database.writer, database.path)
    if copy is not None:
        logger.warning(
            "%s was written over while it was open, perhaps with its own bytes; what this process saw in it is kept as "
            "%s",
            database.path,
            copy,
        )


def _give_name(copy: PartialFile) -> None:
    """A new ``storeId``: of what the -wal held, the numbers come again."""
    # One whose table is gone is opened all the same, and says so.
    with suppress(sqlite3.OperationalError), closing(connect(copy.path)) as writer:
        writer.execute("UPDATE store SET store_id = ?", (str(uuid.uuid4()),))


def _copy_with_wal(content: Content, copy: PartialFile) -> bool:
    """Copy the database with what is in its -wal; False where the two do not belong together."""
    create_private_file(copy.path + WAL, copy.path)
    try:
        content.handles.copy_to(copy.path)
        content.handles.copy_to(copy.path + WAL, WAL)
        with closing(connect(copy.path)) as writer:
            # Its indexes too: pages of two states seldom agree in them.
            is_whole = writer.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
            return is_whole and writer.execute("PRAGMA foreign_key_check").fetchone() is None
    except (sqlite3.DatabaseError, FileNotFoundError):
        return False
    finally:
        # Closing has copied the -wal into the database.
        for suffix in (WAL, SHM):
            Path(copy.path + suffix).unlink(missing_ok=True)


def _copy_alone(content: Content, copy: PartialFile, path: str) -> None:
    """Raises StorageFailure: what is at the path is damaged."""
    content.handles.copy_to(copy.path)
    with closing(connect(copy.path, read_only=True, immutable=True)) as reader:
        if (found := find_damage(reader)) is not None:
            raise damage(path, found)
