"""Leases without heartbeats: which process owns a turn, and whether that process is alive.

A process that streams has a lease, which its turns name. It holds two locks for the lease: one byte of the database's
directory (``directory_lock.py``), and an exclusive ``flock`` on a file in ``<database>-run/``. The kernel releases both
when the process ends, by ``kill -9`` too, and keeps them while the process is stopped or the machine sleeps. So there
is no process id that could be reused, no clock, and nothing to write.

The byte has no name, so nobody can delete it; a missing lock file proves nothing about a process whose byte is locked.
The file serves systems without such locks, and older programs. Its owner creates it again when it is missing.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.file_locks import fcntl
from mandrake_sessions.store.sql.values import is_uuid
from mandrake_sessions.store.sqlite import directory_lock
from mandrake_sessions.store.sqlite.failures import os_failure, os_failures
from mandrake_sessions.store.sqlite.lock_files import (
    LASTING,
    NO_FILE,
    dead_handle,
    is_dead,
    leads_to,
    lock_file,
    make_lock_file,
    open_lock_file,
    settled_lock_files,
)

logger = logging.getLogger(__name__)

# Where bytes of directories cannot be locked, a lock file has to be missing for so long before its process counts as
# gone, since a living owner creates it again.
MISSING_SECONDS = 15.0

_missing_since: dict[str, float] = {}
_told: set[Path] = set()


class Lease:
    """The lease of this process for one database. The process holds the locks before any turn can name the lease."""

    def __init__(self, database_path: str) -> None:
        self.id = str(uuid.uuid4())
        self._database = database_path
        self._directory: int | None = None
        self._file: int | None = None
        # The last failure of ``look_after``; each is logged once, not at every try.
        self._failed = ""
        try:
            self._hold_directory()
            self._hold_file()
        except BaseException:
            self.abandon()
            raise

    @property
    def is_held(self) -> bool:
        """Whether other processes can see that this process is alive."""
        return self._directory is not None or self._file is not None

    def look_after(self) -> None:
        """Take locks again that somebody removed. The next call tries again what fails now."""
        try:
            self._hold_again()
            self._failed = ""
        except (OSError, StoreMoved) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                logger.warning("the locks of the lease on %s could not be taken again: %s", self._database, error)

    def _hold_again(self) -> None:
        if self._directory is not None and not _is_directory(self._database, self._directory):
            self._hold_directory()
        if self._file is not None and not leads_to(self._path, self._file):
            logger.warning("%s disappeared while it was in use; the server creates it again", self._path)
            self._hold_file()

    def release(self) -> None:
        """Release the lease: this process streams no more. A turn that still names the lease then has no owner."""
        if self._file is not None and leads_to(self._path, self._file):
            with suppress(OSError):
                self._path.unlink()
        self.abandon()
        # The last process deletes the directory.
        with suppress(OSError):
            self._path.parent.rmdir()

    def abandon(self) -> None:
        """In a forked child: the locks belong to the parent, and must not outlive it here."""
        handles = [handle for handle in (self._file, self._directory) if handle is not None]
        self._file = self._directory = None
        for handle in handles:
            os.close(handle)

    @property
    def _path(self) -> Path:
        return lock_file(self._database, self.id)

    def _hold_directory(self) -> None:
        handle = os.open(_directory_of(self._database), os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        if not directory_lock.hold(handle, _number(self.id)):
            os.close(handle)
            return
        self._directory, before = handle, self._directory
        if before is not None:
            os.close(before)

    def _hold_file(self) -> None:
        try:
            handle = make_lock_file(self._database, self._path)
        except OSError as error:
            if self._directory is None and error.errno not in LASTING:
                raise
            _tell_once(self._path.parent, error, _WITHOUT_FILE[self.is_held])
            return
        self._file, before = handle, self._file
        if before is not None:
            os.close(before)


# By whether the directory is held.
_WITHOUT_FILE = {
    True: "turns are looked after without it",
    False: "turns of this process stay streaming if it is killed",
}


def _tell_once(directory: Path, error: OSError, so: str) -> None:
    if directory not in _told:
        _told.add(directory)
        logger.warning("no lock file can be made in %s: %s; %s", directory, error.strerror, so)


def _is_directory(database_path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(_directory_of(database_path)), os.fstat(handle))  # noqa: PTH116
    except OSError:
        return False


def take_lease(database_path: str) -> Lease | None:
    """A new lease; None on systems without leases, or where none can be held. Raises StorageFailure, StoreMoved."""
    if fcntl is None:
        return None
    try:
        with os_failures(database_path):
            lease = Lease(database_path)
    except FileNotFoundError as error:
        raise StoreMoved(database_path) from error
    return lease if lease.is_held else None


@contextmanager
def dead_lease(database_path: str, lease_id: str) -> Iterator[bool]:
    """Whether the process of a lease is gone; False if that is unknown. If it was gone, its file is deleted after the
    block. Raises StorageFailure."""
    if not is_uuid(lease_id):
        # This program gave no such lease, so no process holds it, and no file of such a name is touched.
        yield True
        return
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)):
        yield False
        return
    path = lock_file(database_path, lease_id)
    try:
        handle = open_lock_file(path)
    except NO_FILE:
        yield _is_missing_for_good(database_path, lease_id)
        return
    except OSError as error:
        if error.errno not in LASTING:
            raise os_failure(error, str(path)) from error
        logger.debug("%s cannot be opened: %s", path, error)
        yield False
        return
    with dead_handle(handle, path) as dead:
        yield dead


def _is_missing_for_good(database_path: str, lease_id: str) -> bool:
    """Whether the process of a lease is gone, if its file is missing and its byte is not locked."""
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)) is False:
        return True
    now = time.monotonic()
    return now - _missing_since.setdefault(lease_id, now) >= MISSING_SECONDS


def dead_lease_files(database_path: str) -> list[Path]:
    """Lock files whose process is gone."""
    return [path for path in settled_lock_files(database_path) if is_dead_lease(database_path, path.stem)]


def is_dead_lease(database_path: str, lease_id: str) -> bool:
    """Whether the process of a lease that a turn names is gone, as far as that is known now. It changes nothing."""
    if fcntl is None:
        return False
    if not is_uuid(lease_id):
        return True
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)):
        return False
    return is_dead(lock_file(database_path, lease_id))


def _number(lease_id: str) -> int:
    """The place of a lease's byte in the directory: offsets have 63 bits."""
    return uuid.UUID(lease_id).int >> 66


def _directory_of(database_path: str) -> str:
    return os.path.dirname(database_path)  # noqa: PTH120
