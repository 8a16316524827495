"""Opening a file: whose it is, whether it may be written, whether it is whole, and bringing it to the schema."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mandrake_sessions.errors import (
    Busy,
    StorageFailure,
    StorageReason,
    StoreMoved,
    StrangePart,
    Unreadable,
    Wording,
    Words,
)
from mandrake_sessions.files import explain, file_size
from mandrake_sessions.owners import make_directory
from mandrake_sessions.store.settings import StoreSettings
from mandrake_sessions.store.sql.values import OddValue
from mandrake_sessions.store.sqlite.backup import create_private_file
from mandrake_sessions.store.sqlite.connect import connect, is_wal
from mandrake_sessions.store.sqlite.database import Database
from mandrake_sessions.store.sqlite.diagnosis import damage, schema_too_new
from mandrake_sessions.store.sqlite.failures import is_odd_content, may_be_odd_content, storage_failure
from mandrake_sessions.store.sqlite.filesystem import cannot_be_looked_at, check_filesystem, check_kind, check_links
from mandrake_sessions.store.sqlite.handles import open_handles, own_handle
from mandrake_sessions.store.sqlite.identity import SHM, WAL, renew_store_id_if_copied
from mandrake_sessions.store.sqlite.immediate import one_snapshot
from mandrake_sessions.store.sqlite.migrate import (
    APPLICATION_ID,
    check_ledger,
    latest_version,
    lowest_programs,
    migrate,
    user_version,
)
from mandrake_sessions.store.sqlite.partial import sync_directory
from mandrake_sessions.store.sqlite.permissions import may_not_share, may_write, open_to_writing
from mandrake_sessions.store.sqlite.retry import retry_while_locked
from mandrake_sessions.store.sqlite.setup_lock import opening_lock, setup_lock
from mandrake_sessions.workspaces import how_to_name, prepare_directory

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A file of up to so many bytes is looked through before anything is written to it; that takes about 1 ms a megabyte.
# A larger one is looked through in the background.
CHECKED_AT_OPENING = 4 * 1024 * 1024


def open_database(path: str, settings: StoreSettings) -> Database:
    """Open a file, made and migrated where need be. Blocks for up to the busy timeout.

    Raises:
        StorageFailure, Busy: see ``pool.acquire``.
    """
    try:
        # As a whole, since until the file is in WAL mode any statement, even a COMMIT, may meet another's lock.
        return retry_while_locked(lambda: _open_once(path, settings), settings.busy_timeout, path)
    except Busy as busy:
        if isinstance(busy.__cause__, _OldSidecars):
            raise Busy(path, busy.waited_ms, str(busy.__cause__)) from busy
        raise
    except sqlite3.Error as error:
        raise storage_failure(error, path, "Failed to initialize database") from error
    except OSError as error:
        # No more files may be opened, say.
        raise cannot_open(path, explain(error, path)) from error


def prepare(path: str, settings: StoreSettings, *, again: bool, make: bool) -> None:
    """Make the directory and an empty file, private both, where there are none; see ``pool.acquire``."""
    check_kind(path)
    if not make:
        _check_is_there(path)
    if not settings.allow_network_filesystem:
        check_filesystem(path)
    check_links(path, settings.inside)
    directory = os.path.dirname(path)  # noqa: PTH120
    parents = settings.makes_parents and not again
    try:
        # Keep the store out of git, also for programs that embed it.
        prepare_directory(Path(path), parents=parents)
        make_directory(directory, parents=parents)
    except OSError as error:
        raise StorageFailure(
            StorageReason.CREATE_DIRECTORY,
            _or_elsewhere(f"Failed to create database directory {directory}: {explain(error, directory)}", path),
            path,
        ) from error
    if make and not os.path.exists(path):  # noqa: PTH110
        with setup_lock(path, settings.busy_timeout, demanded=not settings.allow_network_filesystem):
            _make_file(path)


def _check_is_there(path: str) -> None:
    """Raises StoreMoved where there is no file; StorageFailure where the system does not tell, as behind a directory
    that this user may not search."""
    try:
        os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        raise StoreMoved(path) from None
    except OSError as error:
        raise cannot_be_looked_at(path, error) from error


def _make_file(path: str) -> None:
    """Make an empty file. A -wal or -shm beside it belonged to a file that is gone, and must not become part of this
    one. One process at a time does this, before there is a file, since its next users make new ones.
    """
    try:
        if not os.path.exists(path):  # noqa: PTH110
            for suffix in (WAL, SHM):
                Path(path + suffix).unlink(missing_ok=True)
            create_private_file(path)
            directory = os.path.dirname(path)  # noqa: PTH120
            # SQLite syncs the directory, but not the directory's own name, which may be new too.
            sync_directory(os.path.dirname(directory))  # noqa: PTH120
    except OSError as error:
        raise cannot_open(path, explain(error, path)) from error


def cannot_open(path: str, why: str) -> StorageFailure:
    return StorageFailure(
        StorageReason.OPEN, f"Failed to initialize database {path}: {why}; check the path and its mode", path
    )


def _open_once(path: str, settings: StoreSettings) -> Database:
    _check_wal_has_file(path)
    if not may_write(path):
        return _open_read_only(path, StorageReason.READ_ONLY)
    with opening_lock(path, settings.busy_timeout) as is_locked:
        try:
            return _open_for_writing(path, settings, is_locked=is_locked)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHORT_READ and _is_open_here(path):
                # It took the frames that the old -shm counts from the new -wal.
                raise _OldSidecars from error
            raise


def _check_wal_has_file(path: str) -> None:
    """A file that was emptied looks like a new one, and SQLite would delete the -wal beside it."""
    # In this order: a file that another process has just set up has something in it before it has a -wal.
    if file_size(path + WAL) > 0 and file_size(path) == 0:
        raise damage(path, "it was emptied, but its -wal was not")


def _open_for_writing(path: str, settings: StoreSettings, *, is_locked: bool) -> Database:
    open_to_writing(path)
    writer = connect(path)
    try:
        check_identity(writer, path)
        if (found := _find_damage(writer, path, settings.busy_timeout)) is not None:
            return _open_damaged(path, found)
        if is_wal(writer):
            # Before the first write as well: what follows may migrate.
            _check_sidecars(path)
        if user_version(writer) < latest_version() or not is_wal(writer):
            demanded = not settings.allow_network_filesystem
            with setup_lock(path, settings.busy_timeout, demanded=demanded, is_held=is_locked):
                _set_up(writer, path, settings.busy_timeout)
        _as_far_as_it_goes(lambda: check_ledger(writer, path), path)
        if (reason := reason_not_to_write(writer, path)) is not None:
            writer.close()
            return _open_read_only(path, reason)
        came_from_elsewhere = _as_far_as_it_goes(
            lambda: renew_store_id_if_copied(writer, path, settings.busy_timeout), path
        )
        _check_sidecars(path)
        database = Database(path, writer, immutable=False, read_only=None)
        # A file without a storeId may have come from anywhere.
        database.diagnosis.is_unchecked = came_from_elsewhere is not False
        _as_far_as_it_goes(lambda: _note_strange_parts(database), path)
    except BaseException:
        writer.close()
        raise
    return database


def _note_strange_parts(database: Database) -> None:
    """A trigger of another program may change or delete what this one writes, without any error."""
    if database.writer.execute("SELECT 1 FROM sqlite_schema WHERE type IN ('trigger', 'view')").fetchone() is None:
        return
    from mandrake_sessions.store.sqlite.schema import strange_parts  # makes a model of the schema

    for kind, name in strange_parts(database.writer):
        database.diagnosis.note(StrangePart(kind, name))


def _as_far_as_it_goes(work: Callable[[], T], path: str) -> T | None:
    """Do a step of opening that the store can do without: a table may be gone, or hold odd values. Then each request
    says what it cannot read. None if the step failed."""
    try:
        return work()
    except (sqlite3.Error, OddValue, Unreadable) as error:
        if isinstance(error, sqlite3.Error) and not (is_odd_content(error) or may_be_odd_content(error)):
            raise
        logger.warning("%s: opened all the same: %s", path, error)
        return None


def _check_sidecars(path: str) -> None:
    """SQLite shares one -shm among the connections of a process. While one from before the -shm was deleted is open (of
    a long read, say) a new one would use the deleted file, and damage the database beside processes that use another:
    one that is there again under its name may be theirs.

    Raises _OldSidecars.
    """
    try:
        os.stat(path + WAL)  # noqa: PTH116
        shm, handles = os.stat(path + SHM), open_handles()  # noqa: PTH116
        is_shared = not handles or own_handle(shm, handles) is not None
    except FileNotFoundError:
        is_shared = False
    if not is_shared:
        raise _OldSidecars


def _is_open_here(path: str) -> bool:
    """Whether this process has a connection to the file."""
    try:
        return own_handle(os.stat(path), open_handles()) is not None  # noqa: PTH116
    except OSError:
        return False


class _OldSidecars(sqlite3.OperationalError):
    """A connection of this process still uses an old -wal and -shm. ``retry_while_locked`` waits for it: such a
    connection is soon closed."""

    def __init__(self) -> None:
        super().__init__("a connection of this process that still uses a -wal or -shm that was deleted")
        self.sqlite_errorcode = sqlite3.SQLITE_BUSY


def _set_up(writer: sqlite3.Connection, path: str, busy_timeout: float) -> None:
    # It takes effect only before the first table, and only before WAL.
    writer.execute("PRAGMA auto_vacuum=INCREMENTAL")
    migrate(writer, path, busy_timeout)
    if not is_wal(writer) and reason_not_to_write(writer, path) is None:
        writer.execute("PRAGMA journal_mode=WAL").fetchone()


def _find_damage(connection: sqlite3.Connection, path: str, budget: float) -> str | None:
    """The damage of the file that can be seen before it is used."""
    # From a snapshot: its pages cannot be cut from the file, nor go with the -wal.
    with one_snapshot(connection, path, budget):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        size = file_size(path)
        if size < pages * page_size and not file_size(path + WAL):
            return f"it has {size} bytes of {pages * page_size}"
        return find_damage(connection) if size <= CHECKED_AT_OPENING else None


def find_damage(connection: sqlite3.Connection) -> str | None:
    """Read the whole file (a second a gigabyte, more from a slow disk); gives its damage, or None."""
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if storage_failure(error, "").__class__ is not StorageFailure:
            raise
        return str(error)
    # A page that could not be read for a transient reason is not damaged.
    return None if found == "ok" or "error code=" in found else str(found).splitlines()[-1]


def _open_damaged(path: str, found: str) -> Database:
    """Open it read-only, to read what can still be read."""
    database = _open_read_only(path, StorageReason.CORRUPT)
    database.diagnosis.mark_damaged(found)
    return database


def _open_read_only(path: str, reason: StorageReason) -> Database:
    immutable = may_not_share(path)
    reader = connect(path, read_only=True, immutable=immutable)
    try:
        check_identity(reader, path)
        reason_not_to_write(reader, path)
        return Database(path, reader, immutable=immutable, read_only=reason)
    except BaseException:
        reader.close()
        raise


def check_identity(connection: sqlite3.Connection, path: str) -> None:
    """Refuse another program's file before anything is written."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id == APPLICATION_ID:
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != 0 or tables:
        raise StorageFailure(StorageReason.FOREIGN_DATABASE, lambda words: _foreign(path, words), path)


def _foreign(path: str, words: Words) -> str:
    instead = how_to_name("another file", path, words.setting("db_path"))
    told = f"{path} is the database of another program; nothing was written to it. Name {instead}"
    return ". ".join(filter(None, (told, words.to_bring_in(path))))


def _or_elsewhere(what: str, path: str) -> Wording:
    return lambda words: f"{what}; check it, or name {how_to_name('a file', path, words.setting('db_path'))}"


def reason_not_to_write(connection: sqlite3.Connection, path: str) -> StorageReason | None:
    """None if this program may write the file, the reason if it may only read it.

    Raises:
        StorageFailure: ``schemaTooNew``; not even that.
    """
    version, own = user_version(connection), latest_version()
    if version == 0:
        raise cannot_open(path, "it is empty and may only be read")
    if version <= own:
        return None
    min_writer, min_reader = lowest_programs(connection)
    if own < min_reader:
        raise schema_too_new(path, version)
    return None if own >= min_writer else StorageReason.SCHEMA_TOO_NEW
