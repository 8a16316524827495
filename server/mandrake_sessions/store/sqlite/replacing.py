"""Another database put in the place of a store's, while servers may have that open."""

from __future__ import annotations

import glob
import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mandrake_sessions.errors import Busy, StorageFailure, StorageReason
from mandrake_sessions.files import file_size
from mandrake_sessions.ids import now_ms
from mandrake_sessions.store.sqlite.connect import connect
from mandrake_sessions.store.sqlite.copying import copy_database
from mandrake_sessions.store.sqlite.failures import primary_code, storage_failure
from mandrake_sessions.store.sqlite.immediate import begin, immediate, undo
from mandrake_sessions.store.sqlite.migrate import APPLICATION_ID, migrate
from mandrake_sessions.store.sqlite.partial import PartialFile, partial_file, sync_directory
from mandrake_sessions.store.sqlite.permissions import FILE_MODE
from mandrake_sessions.store.sqlite.retry import lock_holder, retry_while_locked
from mandrake_sessions.store.sqlite.space import empty_wal
from mandrake_sessions.store.sqlite.verify import is_empty
from mandrake_sessions.waiting import backoff

# A file of which SQLite says so cannot be locked.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def prepare(path: str, budget: float) -> str:
    """Bring a copy that nobody uses yet to the present schema, with a history of its own; gives its new ``store_id``.

    Turns that stream in it are left to those who open it: they mark the turns whose process is gone.
    """
    store_id = str(uuid.uuid4())
    try:
        with closing(connect(path)) as connection:
            migrate(connection, path, budget, keeps_backup=False)
            with immediate(connection, path, budget):
                # The inode stays the same when the file gets its name.
                inode = str(os.stat(path).st_ino)  # noqa: PTH116
                connection.execute("UPDATE store SET store_id = ?, file_id = ?", (store_id, inode))
    except sqlite3.Error as error:
        raise storage_failure(error, path, "preparing") from error
    return store_id


def put_in_place(partial: PartialFile, target: str, budget: float) -> str | None:
    """Make the partial file the store at ``target``; gives the name that the one before has now, or None without one.

    While the old file can be used it is done like this, so that nothing is committed to a file that nobody finds, and
    the new one never meets the old one's -wal:

    1. The old -wal is emptied and the write lock taken: nobody commits to the old file from here on.
    2. The old file gets another name beside its own.
    3. The new one is renamed over it.
    4. The old -wal and -shm are deleted. Whoever opens the new file between 3 and 4 shares the old -shm, whose write
       lock is ours, so it cannot write before it finds, under that lock, that the names lead elsewhere. Were they
       deleted before 3, somebody could open the old file with a new -wal and write to it.
    5. The directory is synced, and the lock released. SQLite sees that the old file has lost its name, and neither
       checkpoints nor deletes what now has that name.

    A file that is damaged cannot be locked; its -wal and -journal are moved aside first, lest they be played into the
    new one.

    Raises:
        StorageFailure: ``foreignDatabase``: what is there is another program's.
        Busy: others wrote to or read from the old file for ``budget`` seconds. All is as it was.
    """
    kept = f"{target}.replaced-{now_ms()}.backup"
    _take_the_place_of(target, partial)
    try:
        with _held(target, budget) as is_held, _without_ctrl_c():
            remove_second_names(target)
            was_there = os.path.exists(target)  # noqa: PTH110
            if not is_held:
                _move_sidecars(target, kept)
            if was_there:
                _keep(target, kept, budget, is_held=is_held)
            partial.publish(target, replace=True)
            if is_held:
                _delete_sidecars(target)
            sync_directory(os.path.dirname(target))  # noqa: PTH120
    finally:
        remove_second_names(target)
    return kept if was_there else None


def _take_the_place_of(target: str, partial: PartialFile) -> None:
    """A store stays its owner's, whoever restores it, and nobody else may read it, even if others could before."""
    try:
        partial.take_the_place_of(os.stat(target), allowed=FILE_MODE)  # noqa: PTH116
    except FileNotFoundError:
        return
    except PermissionError as error:
        raise StorageFailure(
            StorageReason.READ_ONLY,
            f"{target} belongs to another user, whose it would not be any more; restore it as that user, or as root",
            target,
        ) from error


def remove_second_names(path: str) -> list[str]:
    """Take away names that a restore which was killed has given to a file that is still in use: opened under such a
    name it would have a second -wal. Gives those names."""
    found = second_names(path)
    for name in found:
        os.unlink(name)  # noqa: PTH108
    return found


def second_names(path: str) -> list[str]:
    """Names of kept files that lead to the very file in use."""
    file = Path(path)
    kept = file.parent.glob(f"{glob.escape(file.name)}.replaced-*.backup")
    return [str(name) for name in kept if _is_same(name, file)]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def is_database(path: str) -> bool:
    """Whether SQLite takes the file for a database, however damaged. An empty file is one. Nothing but the file itself
    is read, and no lock is taken."""
    try:
        with closing(connect(path, read_only=True, immutable=True)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        return primary_code(error) != sqlite3.SQLITE_NOTADB
    return True


@contextmanager
def _held(path: str, budget: float) -> Iterator[bool]:
    """Hold the write lock of a store, its -wal empty; False where there is none that could be held."""
    old = _connected(path)
    if old is None:
        yield False
        return
    with closing(old):
        is_held = _take_over(old, path, budget)
        try:
            yield is_held
        finally:
            with suppress(sqlite3.Error):
                undo(old)


def _connected(path: str) -> sqlite3.Connection | None:
    """None where there is no file, or no database in it."""
    if not os.path.exists(path):  # noqa: PTH110
        return None
    try:
        return connect(path)
    except sqlite3.Error as error:
        if primary_code(error) in _DAMAGED:
            return None
        raise storage_failure(error, path, "replacing") from error


def _take_over(old: sqlite3.Connection, path: str, budget: float) -> bool:
    """Whether the lock was taken; False for a file that is damaged."""
    try:
        _lock(old, path, budget)
    except sqlite3.Error as error:
        if primary_code(error) in _DAMAGED:
            return False
        raise storage_failure(error, path, "replacing") from error
    return True


def _lock(old: sqlite3.Connection, path: str, budget: float) -> None:
    (application_id,) = retry_while_locked(lambda: old.execute("PRAGMA application_id").fetchone(), budget, path)
    if application_id != APPLICATION_ID and not is_empty(old):
        raise StorageFailure(
            StorageReason.FOREIGN_DATABASE, f"{path} is another program's database; it was left as it is", path
        )
    started = time.monotonic()
    delays = backoff(budget)
    while not _begin_with_empty_wal(old, path, max(0.0, budget - (time.monotonic() - started))):
        delay = next(delays, None)
        if delay is None:
            raise Busy(path, round((time.monotonic() - started) * 1000), lock_holder(path))
        time.sleep(delay)


def _begin_with_empty_wal(old: sqlite3.Connection, path: str, budget: float) -> bool:
    """Begin, if nobody has committed or read in between what would be lost with the -wal."""
    retry_while_locked(lambda: empty_wal(old), budget, path)
    begin(old, path, budget)
    if file_size(path + "-wal") == 0:
        return True
    undo(old)
    return False


def _keep(path: str, kept: str, budget: float, *, is_held: bool) -> None:
    """Give the old file a second name; a copy of it where the file system gives none, and the name itself where the
    file cannot be copied."""
    try:
        os.link(path, kept)
    except OSError:
        if not is_held:
            os.replace(path, kept)  # noqa: PTH105
            return
        with partial_file(*os.path.split(path), like=path) as copy:
            copy_database(path, copy.path, budget)
            copy.publish(kept, replace=True)


def _move_sidecars(path: str, kept: str) -> None:
    """A -shm is worth nothing without processes that have it open."""
    for suffix in ("-wal", "-journal"):
        with suppress(FileNotFoundError):
            os.replace(path + suffix, kept + suffix)  # noqa: PTH105
    _delete_sidecars(path)


def _delete_sidecars(path: str) -> None:
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)  # noqa: PTH108


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """For the moment in which names change, it would leave things half-done; and so would other signals that raise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raising = [number for number in _ENDING if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in raising}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Windows has no SIGHUP.
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
