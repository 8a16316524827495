"""Open files: one database per file and process, counted by reference, whatever path names it."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

from mandrake_sessions.errors import FileMoved, StoreError
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.diagnosis import damage
from mandrake_sessions.store.sqlite.identity import DATABASE, SHM, SUFFIXES, WAL, FileIdentity, FileKey, file_key
from mandrake_sessions.store.sqlite.immediate import begin, undo
from mandrake_sessions.store.sqlite.leases import Lease
from mandrake_sessions.store.sqlite.opening import cannot_open, find_damage, open_database, prepare
from mandrake_sessions.store.sqlite.partial import partial_file
from mandrake_sessions.store.sqlite.rescue import drop_needless_copy

logger = logging.getLogger(__name__)

# So long after one server has noticed that a -wal or -shm is gone, all have: each looks once a second.
ALL_LEFT_SECONDS = 1.5
APART_SECONDS = 0.3
# What was replaced is opened once nothing has moved for so long, or after all.
QUIET_SECONDS = 0.25
QUIET_WITHIN_SECONDS = 3.0
# So often a file may be replaced while it is opened, before that is an error.
REPLACED_MEANWHILE = 20

_lock = threading.Lock()
_open: dict[FileKey, Database] = {}
# Leases of files that were closed and may be opened again, with which file that was: what this process streams it goes
# on to stream, if that file is found again. In another one its turns are a state of before, and nobody's.
_leases: dict[str, tuple[FileKey | None, Lease]] = {}
# Connections of the parent, kept from being collected in a forked child: closing them there would be a checkpoint by
# a process that does not know of the parent's locks.
_inherited: list[Database] = []


def absolute_name(path: str) -> str:
    """A name that means the same whatever the working directory is later; links in it are followed at each opening.
    Raises StorageFailure."""
    try:
        return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    except OSError as error:
        raise cannot_open(path, f"the working directory cannot be told ({error.strerror})") from error


def acquire(path: str, settings: StoreSettings, *, again: bool = False) -> Database:
    """The open database of a file, whatever absolute path names it; opened, made and migrated if it is not open yet.

    Blocks while it opens. Each call must be paired with one of ``release``. With ``again`` the directory above the
    file's must be there: a workspace that was moved away while its store was open is not made again.

    Raises:
        StorageFailure: ``createDirectory``, ``open``, ``migrate``, ``foreignDatabase``, ``schemaTooNew``, ``corrupt``,
            ``unsupportedFilesystem``.
        Busy: other processes held the file for the busy timeout.
    """
    with _lock:
        return _acquire(path, settings, again=again)


def reopen(database: Database, path: str, settings: StoreSettings) -> Database:
    """Open again what is no longer where it was: what its name, ``path``, leads to now, made if that is nothing. In
    place of ``release`` and ``acquire``; raises as ``acquire`` does, and then the reference is gone.

    What only a deleted -wal held is saved before, and a file that was moved gets what was not in it yet. The lease of
    this process goes on where the file is still the same.
    """
    with _lock:
        if database.is_usable:
            _retire(database)
        copy, database.rescue.copy = database.rescue.copy, None
        opened = _acquire(path, settings, again=True)
        if opened.path != database.path and database.references == 1:
            _give_up_lease(database.path)
        if copy is not None:
            drop_needless_copy(copy, opened.writer, database.path)
        return opened


def retire(database: Database) -> None:
    """Close what is no longer where it was, as ``reopen`` does, and open nothing in its place."""
    with _lock:
        if database.is_usable:
            _retire(database)


def _retire(database: Database) -> None:
    """Close a database under those who use it; they come for a new one.

    Where its -wal or -shm were lost, every server on it leaves it before any comes back: the last to close it copies
    what the old -wal still holds into it, which SQLite does while nobody else has the database open.
    """
    _forget(database)
    _set_apart_if_overwritten(database)
    lost = database.identity.lost()
    if DATABASE in lost:
        _await_quiet(database.path)
    if lost and DATABASE not in lost:
        # Two that close at the same moment each see the other, and then neither copies it.
        time.sleep(random.uniform(0, APART_SECONDS))
    with database.lock:
        if database.lease is not None:
            _give_up_lease(database.path)
            _leases[database.path], database.lease = (database.identity.key, database.lease), None
        try:
            database.rescue.save(database.writer, lost)
        finally:
            # Whatever came of it: while one connection is open, SQLite has the next one share its -shm, though that
            # was deleted and other processes use another one, which damages the file.
            database.close()
    if lost:
        _remove_old_sidecars(database.identity, lost)
    if lost and DATABASE not in lost:
        time.sleep(ALL_LEFT_SECONDS)


def _set_apart_if_overwritten(database: Database) -> None:
    """What somebody has written over the database in place gets an inode of its own, beside which the -wal of what was
    there before means nothing: so every process takes it for replaced, and none copies its -wal into it."""
    if not database.identity.content.is_overwritten or database.identity.was_replaced:
        return
    with database.lock:
        _await_quiet(database.path)
        # A process that opens the new file before the -shm is gone shares that and cannot write: see
        # ``replacing.put_in_place``.
        with suppress(sqlite3.Error, StoreError):
            begin(database.writer, database.path, 0)
        try:
            _set_apart(database)
        except (OSError, StoreError) as error:
            logger.warning("%s was overwritten while it was open: %s", database.path, error)
            database.diagnosis.mark_damaged("it was overwritten while it was open")
        finally:
            with suppress(sqlite3.Error):
                undo(database.writer)


def _set_apart(database: Database) -> None:
    path = database.path
    with partial_file(*os.path.split(path), like=path) as copy:
        database.identity.content.copy_to(copy.path)
        with closing(connect(copy.path, read_only=True, immutable=True)) as reader:
            if (found := find_damage(reader)) is not None:
                raise damage(path, found)
        copy.take_the_place_of(os.stat(path))  # noqa: PTH116
        copy.publish(path, replace=True)
        for suffix in (WAL, SHM):
            Path(path + suffix).unlink(missing_ok=True)
    logger.warning("%s was overwritten while it was open; what is in it now is another store", path)


def _give_up_lease(path: str) -> None:
    """Nobody here comes back to that file."""
    _, lease = _leases.pop(path, (None, None))
    if lease is not None:
        lease.release()


def _lease_of(path: str, key: FileKey) -> Lease | None:
    """That of the file, if this process had it open before."""
    known, lease = _leases.pop(path, (None, None))
    if lease is not None and known != key:
        lease.release()
        return None
    return lease


def _await_quiet(path: str) -> None:
    """Whoever puts a snapshot back puts file after file in place, the database maybe first. Opened between two of them
    it would be another state, and what is written then be lost with the -wal that is put over it."""
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    seen, since = _looks_of(path), time.monotonic()
    while os.path.exists(path) and time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:  # noqa: PTH110
        time.sleep(QUIET_SECONDS / 5)
        if (now := _looks_of(path)) != seen:
            seen, since = now, time.monotonic()


def _looks_of(path: str) -> list[tuple[int, ...] | None]:
    """What moves when one of the files is replaced or written to."""
    return [_look_of(path + suffix) for suffix in SUFFIXES]


def _look_of(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _remove_old_sidecars(place: FileIdentity, lost: frozenset[str]) -> None:
    """Whoever opens the name next must not take what belonged to what is lost for a part of what is there now: SQLite
    would, as it goes by their names. A -wal whose -shm alone was lost is whole, and is read again."""
    for suffix, belongs_to in ((WAL, {DATABASE}), (SHM, {DATABASE, WAL})):
        if belongs_to & lost and place.is_ours(suffix):
            Path(place.path + suffix).unlink(missing_ok=True)


def _acquire(name: str, settings: StoreSettings, *, again: bool) -> Database:
    for _ in range(REPLACED_MEANWHILE):
        path = os.path.realpath(name)
        prepare(path, settings, again=again)
        database = _opened(path, settings)
        if database is not None:
            database.identity.follow(name)
            database.references += 1
            return database
    raise FileMoved(name)


def _opened(path: str, settings: StoreSettings) -> Database | None:
    """None where the file went, or was replaced, between two looks at it."""
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
    database.lease = _lease_of(path, key)
    _open[key] = database
    return database


def release(database: Database) -> None:
    """Give back what ``acquire`` gave; the last one closes the file."""
    with _lock:
        database.references -= 1
        if database.references == 0:
            _close(database)


def _close(database: Database) -> None:
    _forget(database)
    _set_apart_if_overwritten(database)
    database.close()


def close_all() -> None:
    """Close every file of this process, whoever still refers to it."""
    with _lock:
        for database in list(_open.values()):
            _close(database)


def open_databases() -> list[Database]:
    """What is open in this process now."""
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
