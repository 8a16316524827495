"""The open files of this process: one ``Database`` a file, counted by reference, whatever path names the file."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path

from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.history import Seen
from mandrake_sessions.store.sqlite.identity import DATABASE, SHM, SUFFIXES, WAL, FileIdentity, FileKey, file_key
from mandrake_sessions.store.sqlite.leases import Lease
from mandrake_sessions.store.sqlite.leaving import alone, await_all_left
from mandrake_sessions.store.sqlite.opening import cannot_open, open_database, prepare
from mandrake_sessions.store.sqlite.rescue import drop_needless_copy
from mandrake_sessions.store.sqlite.set_apart import set_apart

logger = logging.getLogger(__name__)

# A replaced file is opened once nothing has changed for QUIET_SECONDS, or after QUIET_WITHIN_SECONDS.
QUIET_SECONDS = 0.25
QUIET_WITHIN_SECONDS = 3.0
# A file may be replaced so often while it is opened; after that it is an error.
REPLACED_MEANWHILE = 20

_lock = threading.Lock()
_open: dict[FileKey, Database] = {}
# Leases of closed files that may be opened again, with the key of the file. If the same file is opened again, this
# process goes on with its streaming turns. In another file those turns are an old state, and no process's.
_leases: dict[str, tuple[FileKey | None, Lease]] = {}
# What was seen in files that were closed since their -shm was lost, with the key of the file.
_seen: dict[str, tuple[FileKey | None, Seen]] = {}
# In a forked child: the parent's connections. They are never collected, since closing them would be a checkpoint by a
# process that does not know of the parent's locks.
_inherited: list[Database] = []


def absolute_name(path: str) -> str:
    """The path without the working directory in it; each opening follows its links again. Raises StorageFailure."""
    try:
        return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    except OSError as error:
        raise cannot_open(path, f"the working directory cannot be determined ({error.strerror})") from error


def acquire(path: str, settings: StoreSettings, *, again: bool = False, make: bool = True) -> Database:
    """The open database of a file, whatever absolute path names it; opens, makes and migrates it if need be.

    Blocks while it opens. Pair each call with one of ``release``. ``again``: do not make the directory above the
    file's, so that a workspace that was moved away while its store was open is not made again. ``make``: make the file
    where there is none.

    Raises:
        StoreMoved: there is none, and ``make`` is false.
        StorageFailure: ``createDirectory``, ``open``, ``migrate``, ``foreignDatabase``, ``schemaTooNew``, ``corrupt``,
            ``unsupportedFilesystem``.
        Busy: other processes held the file for the busy timeout.
    """
    with _lock:
        return _acquire(path, settings, again=again, make=make)


def reopen(database: Database, path: str, settings: StoreSettings, *, make: bool = True) -> Database:
    """After a file was moved or replaced: close it, and open the file that ``path`` leads to now, or ``make`` it.
    In place of ``release`` and ``acquire``; raises as ``acquire`` does, and then the reference is gone.

    Before that it saves what only a deleted -wal holds, and completes a file that was moved. If ``path`` leads to the
    same file, this process keeps its lease.
    """
    with _lock:
        if database.is_usable:
            _retire(database)
        copy, database.rescue.copy = database.rescue.copy, None
        opened = _acquire(path, settings, again=True, make=make)
        if opened.path != database.path and database.references == 1:
            _give_up_lease(database.path)
        if copy is not None:
            # Another thread may be in a transaction.
            with opened.lock:
                drop_needless_copy(copy, opened.writer, database.path)
        return opened


def retire(database: Database) -> None:
    """Close a file that was moved or replaced, as ``reopen`` does, and open none in its place."""
    with _lock:
        if database.is_usable:
            _retire(database)


def _retire(database: Database) -> None:
    """Close a database that others in this process may use; they will open it again.

    If its -wal or -shm was lost, all servers close the file before any reopens it: the last one to close copies what
    the old -wal still holds into it, which SQLite does while no other process has the database open. They close it one
    after the other: of two at the same moment, each would see the other's connection, and neither would copy.
    """
    _forget(database)
    lost = database.identity.lost()
    if lost:
        # Whoever deletes a -wal may be about to copy something over the database.
        _await_quiet(database.path)
    _set_apart_if_overwritten(database)
    lost = database.identity.lost()
    with alone(database.path) if lost else nullcontext(), database.lock:
        if database.lease is not None:
            _give_up_lease(database.path)
            _leases[database.path], database.lease = (database.identity.key, database.lease), None
        try:
            database.rescue.save(database.writer, lost)
        finally:
            # Close it in any case: while one connection is open, SQLite lets the next one share its deleted -shm,
            # beside processes that use another one, and that damages the file.
            database.close()
    if lost:
        _remove_old_sidecars(database.identity, lost)
    if lost and DATABASE not in lost:
        await_all_left(database.path, lost)


def _set_apart_if_overwritten(database: Database) -> None:
    if database.identity.is_beside_another_shm and DATABASE not in database.identity.lost():
        # Our -shm says nothing of what those have written who use another one. Once the file is open again, its history
        # tells whether it is the same store.
        _seen[database.path] = database.identity.key, database.history.seen
        return
    if database.identity.content.is_overwritten or database.history.is_lost:
        with database.lock:
            _await_quiet(database.path)
            if database.history.is_lost or not database.identity.content.is_unchanged():
                set_apart(database)


def _give_up_lease(path: str) -> None:
    """This process does not open that file again."""
    _, lease = _leases.pop(path, (None, None))
    if lease is not None:
        lease.release()


def _lease_of(path: str, key: FileKey) -> Lease | None:
    """The lease on the file, if this process had it open before."""
    known, lease = _leases.pop(path, (None, None))
    if lease is not None and known != key:
        lease.release()
        return None
    return lease


def _await_quiet(path: str) -> None:
    """A program that restores files copies one after the other, perhaps the database first. Opened between two of them
    the store would be in another state, and the -wal that is copied next would undo what is written then."""
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    seen, since = _looks_of(path), time.monotonic()
    while os.path.exists(path) and time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(QUIET_SECONDS / 5)
        if (now := _looks_of(path)) != seen:
            seen, since = now, time.monotonic()


def _looks_of(path: str) -> list[tuple[int, ...] | None]:
    """What changes when one of the files is replaced or written to."""
    return [_look_of(path + suffix) for suffix in SUFFIXES]


def _look_of(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _remove_old_sidecars(place: FileIdentity, lost: frozenset[str]) -> None:
    """Delete a -wal or -shm that belonged to a lost file: SQLite goes by names, and would use it with the file that is
    there now. A -wal whose -shm alone was lost is whole, and is read again."""
    for suffix, belongs_to in ((WAL, {DATABASE}), (SHM, {DATABASE, WAL})):
        if belongs_to & lost and place.is_ours(suffix):
            Path(place.path + suffix).unlink(missing_ok=True)


def _acquire(name: str, settings: StoreSettings, *, again: bool, make: bool) -> Database:
    for _ in range(REPLACED_MEANWHILE):
        path = os.path.realpath(name)
        prepare(path, settings, again=again, make=make)
        database = _opened(path, settings)
        if database is not None:
            database.identity.follow(name)
            database.references += 1
            return database
    raise StoreMoved(name)


def _opened(path: str, settings: StoreSettings) -> Database | None:
    """None if the file was deleted or replaced meanwhile, or is set apart since it holds an older state."""
    key = file_key(path)
    if key is None:
        return None
    database = _open.get(key)
    if database is not None:
        return database
    database = open_database(path, settings)
    if file_key(path) != key:
        database.close()
        return None
    if not _goes_on(database, key):
        _set_apart_if_overwritten(database)
        database.close()
        return None
    database.lease = _lease_of(path, key)
    _open[key] = database
    return database


def _goes_on(database: Database, key: FileKey) -> bool:
    """Whether a file that this process had open before still holds what was seen in it then."""
    known, seen = _seen.pop(database.path, (None, Seen()))
    if known != key:
        return True
    try:
        database.history.go_on(database.writer, seen)
    except StoreMoved:
        return False
    return True


def release(database: Database) -> None:
    """Give back what ``acquire`` gave; the last call closes the file."""
    with _lock:
        database.references -= 1
        if database.references == 0:
            _close(database)


def _close(database: Database) -> None:
    _forget(database)
    _set_apart_if_overwritten(database)
    database.close()


def close_all() -> None:
    """Close every file of this process, whatever still refers to it."""
    with _lock:
        for database in list(_open.values()):
            _close(database)


def open_databases() -> list[Database]:
    """The open databases of this process."""
    with _lock:
        return list(_open.values())


def _forget(database: Database) -> None:
    for key, other in list(_open.items()):
        if other is database:
            del _open[key]


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for database in _open.values():
        database.abandon()
    _inherited.extend(_open.values())
    _open.clear()
    for _, lease in _leases.values():
        lease.abandon()
    _leases.clear()
    _seen.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
