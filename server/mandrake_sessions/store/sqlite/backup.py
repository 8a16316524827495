"""Copies of a database that the program keeps beside it."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from mandrake_sessions.ids import now_ms
from mandrake_sessions.owners import give_to_owner
from mandrake_sessions.store.sqlite.copying import copy_database
from mandrake_sessions.store.sqlite.partial import partial_file

KEPT_BACKUPS = 3
_BUSY_SECONDS = 5.0


def create_private_file(path: str, like: str | None = None) -> bool:
    """Create an empty file that only its owner may read; False if the file exists. If root creates it, it gets the
    owner of ``like``, or of the directory.

    O_EXCL: so the handle that is closed here never belongs to a file that SQLite has locked.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return False
    give_to_owner(handle, like or os.path.dirname(path))  # noqa: PTH120
    os.close(handle)
    return True


def back_up_before_migration(path: str, version: int) -> str:
    """Copy the file beside itself, with its schema version in the name, and delete all but the newest of these
    copies."""
    return _back_up_beside(path, f"v{version}", "v*")


def back_up_before_repair(path: str) -> str:
    """The same before a repair. A damaged file is copied as it is."""
    return _back_up_beside(path, "before-fix", "before-fix")


def _back_up_beside(path: str, word: str, words: str) -> str:
    file = Path(path)
    destination = f"{path}.{word}-{now_ms()}.backup"
    with partial_file(str(file.parent), file.name, like=path) as partial:
        copy_database(path, partial.path, _BUSY_SECONDS)
        partial.publish(destination, replace=True)
    copies = sorted(
        file.parent.glob(f"{glob.escape(file.name)}.{words}-*.backup"), key=lambda copy: copy.stat().st_mtime_ns
    )
    for old in copies[:-KEPT_BACKUPS]:
        old.unlink(missing_ok=True)
    return destination
