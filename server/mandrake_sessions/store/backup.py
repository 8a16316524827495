"""Copies of a database, made by SQLite itself while others write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.connect import connect

KEPT_BACKUPS = 3
_UNFINISHED = ".unfinished-backup"


def create_private_file(path: str) -> bool:
    """Make an empty file that only its owner may read; False if it is there already.

    O_EXCL, so the handle that is closed here is never one of a file that SQLite has locked.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return False
    os.close(handle)
    return True


def copy_database(source: str, destination: str) -> None:
    """Copy a database to a new file. The source is read on a connection of its own: on the one that holds the
    transaction ``Connection.backup`` would wait for itself."""
    create_private_file(destination)
    try:
        with closing(connect(source, read_only=True)) as reader, closing(sqlite3.connect(destination)) as writer:
            reader.backup(writer)
    except BaseException:
        # On a full disk half a copy would be in the way, and nobody could tell it from a whole one.
        Path(destination).unlink(missing_ok=True)
        raise


def back_up_before_migration(path: str, version: int) -> str:
    """Copy the file beside itself, named after the schema it has, and delete all but the newest such copies.

    What has the name of a copy is a whole one."""
    destination = f"{path}.v{version}-{now_ms()}.backup"
    file = Path(path)
    # Left by a process that was killed; whoever migrates holds the lock, so it is nobody's.
    for unfinished in file.parent.glob(f"{file.name}{_UNFINISHED}*"):
        unfinished.unlink(missing_ok=True)
    copy_database(path, path + _UNFINISHED)
    Path(path + _UNFINISHED).replace(destination)
    copies = sorted(file.parent.glob(f"{file.name}.v*-*.backup"), key=lambda copy: copy.stat().st_mtime_ns)
    for old in copies[:-KEPT_BACKUPS]:
        old.unlink(missing_ok=True)
    return destination
