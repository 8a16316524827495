"""Closes a connection without the checkpoint that SQLite makes when the last connection of all closes.

That checkpoint copies the -wal into the database, wherever the names of the two lead by then. If the file was damaged
or overwritten, or if other processes use another -wal, old pages would land in it. SQLite begins it with an exclusive
lock on the database, so a shared lock of somebody else prevents it.

A connection must not be left open instead: SQLite shares one -shm among all connections of a process to one file. The
next connection would use the old -shm with the new -wal, and could read neither.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

from mandrake_sessions.errors import StoreError
from mandrake_sessions.file_locks import fcntl
from mandrake_sessions.store.sqlite.handles import open_handles, own_handle
from mandrake_sessions.store.sqlite.immediate import one_snapshot

logger = logging.getLogger(__name__)

# The bytes of a database that a reader locks (SQLite's file format, "File Locking").
SHARED_AT: Final = 0x40000002
SHARED_BYTES: Final = 510
# struct flock.
_LOCK: Final = struct.Struct("hhqqi")


def close_without_checkpoint(
    writer: sqlite3.Connection, path: str, key: tuple[int, int] | None, connect: Callable[[], sqlite3.Connection]
) -> None:
    """``key``: device and inode of the file that ``writer`` has open. ``connect``: opens another connection to
    ``path`` that cannot write."""
    with _shared_lock(key) as is_held:
        if is_held:
            writer.close()
            return
    try:
        # Only a transaction holds its lock in every journal mode.
        with closing(connect()) as beside, one_snapshot(beside, path, budget=0):
            writer.close()
    except (sqlite3.Error, StoreError) as error:
        logger.warning("%s: a connection to it stays open until this process ends: %s", path, error)
        _keep_for_ever(writer)


@contextmanager
def _shared_lock(key: tuple[int, int] | None) -> Iterator[bool]:
    """Hold a reader's lock on an open file that belongs to a handle, not to this process, so that it excludes this
    process's connections too. Gives whether it is held: only Linux has such locks."""
    handle = _open_again(key)
    if handle is None:
        yield False
        return
    try:
        yield _set_lock(handle, fcntl.F_RDLCK if fcntl is not None else 0)
    finally:
        if _is_last(handle):
            os.close(handle)
        else:
            # Closing it would drop the locks of the connections that still read.
            _set_lock(handle, fcntl.F_UNLCK if fcntl is not None else 0)


def _open_again(key: tuple[int, int] | None) -> int | None:
    if key is None or not hasattr(fcntl, "F_OFD_SETLK"):
        return None
    for handle in open_handles():
        with suppress(OSError):
            found = os.fstat(handle)
            if (found.st_dev, found.st_ino) == key:
                # Its name may lead to another file by now.
                return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    return None


def _set_lock(handle: int, kind: int) -> bool:
    try:
        wanted = _LOCK.pack(kind, os.SEEK_SET, SHARED_AT, SHARED_BYTES, 0)
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)  # type: ignore[union-attr]
    except OSError:
        return False
    return True


def _is_last(handle: int) -> bool:
    """Whether this process has the file open by no other handle."""
    others = [other for other in open_handles() if other != handle]
    return own_handle(os.fstat(handle), others) is None


def _keep_for_ever(writer: sqlite3.Connection) -> None:
    """Leave it to the end of the process. A list would not do: the interpreter empties modules at its end and collects
    their connections, which closes them, and that copies the -wal into the file."""
    import ctypes  # only where a connection cannot be closed

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(writer))
