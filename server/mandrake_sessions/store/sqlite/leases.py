"""Leases without heartbeats: which process owns a turn, and whether that process is alive.

A process that streams has a lease, which its turns name. It holds two locks for the lease: one byte of the database's
directory (``directory_lock.py``), and an exclusive ``flock`` on a file in ``<database>-run/``. The kernel releases both
when the process ends, by ``kill -9`` too, and keeps them while the process is stopped or the machine sleeps. So there
is no process id that could be reused, no clock, and nothing to write.

The byte has no name, so nobody can delete it; a missing lock file proves nothing about a process whose byte is locked.
The file serves systems without such locks, and older programs. Its owner creates it again when it is missing.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from mandrake_sessions.errors import FileMoved
from mandrake_sessions.files import whose
from mandrake_sessions.owners import give_to_owner, make_directory
from mandrake_sessions.store.sqlite import directory_lock
from mandrake_sessions.store.sqlite.failures import os_failure, os_failures

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: turns belong to no process, and stay as they are until some process resumes them.
    fcntl = None

logger = logging.getLogger(__name__)

_YOUNG_SECONDS = 1.0
# Where bytes of directories cannot be locked, a lock file has to be missing for so long before its process counts as
# gone, since a living owner creates it again.
MISSING_SECONDS = 15.0
# How often to try, since other processes may delete the directory of the lock files meanwhile.
_ATTEMPTS = 1000
# Errors that every further try would meet too. A full disk, or no free file descriptor, is another matter.
_ODD = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR})
# There is no lock file, or something else has the name of its directory.
_NO_FILE = (FileNotFoundError, NotADirectoryError)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

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
        except (OSError, FileMoved) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                logger.warning("the locks of the lease on %s could not be taken again: %s", self._database, error)

    def _hold_again(self) -> None:
        if self._directory is not None and not _is_directory(self._database, self._directory):
            self._hold_directory()
        if self._file is not None and not _leads_to(self._path, self._file):
            logger.warning("%s disappeared while it was in use; the server creates it again", self._path)
            self._hold_file()

    def release(self) -> None:
        """Release the lease: this process streams no more. A turn that still names the lease then has no owner."""
        if self._file is not None and _leads_to(self._path, self._file):
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
        return _lock_file(self._database, self.id)

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
            handle = _make_lock_file(self._database, self._path)
        except OSError as error:
            if self._directory is None and error.errno not in _ODD:
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


def unusable_lock_directory(database_path: str) -> str | None:
    """Why lock files cannot be created or checked beside a database, and what to do; None if they can."""
    path = f"{database_path}-run"
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if not stat.S_ISDIR(mode):
        return f"{path} is not a directory, so no lock files can be created in it; remove it"
    if os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return None
    return f"no lock files can be created in {path}: {whose(path)}; sudo chown -R it to the owner of the store"


def _tell_once(directory: Path, error: OSError, so: str) -> None:
    if directory not in _told:
        _told.add(directory)
        logger.warning("no lock file can be made in %s: %s; %s", directory, error.strerror, so)


def _make_lock_file(database_path: str, path: Path) -> int:
    """Create a file at ``path`` and lock it; gives the handle."""
    assert fcntl is not None
    for _ in range(_ATTEMPTS):
        if not path.parent.parent.is_dir():
            raise FileMoved(database_path)
        with suppress(FileNotFoundError), _run_directory(path.parent, make=True) as directory:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)
            handle = os.open(path.name, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_LINK, 0o600, dir_fd=directory)
            give_to_owner(handle, database_path)
            # Until it is locked, another process may take the file for a dead one and delete it.
            if try_lock(handle) and _leads_to(path, handle):
                return handle
            os.close(handle)
    raise OSError(errno.EAGAIN, "it is deleted as often as it is made", str(path))


@contextmanager
def _run_directory(path: Path, *, make: bool = False) -> Iterator[int]:
    """Open the directory of the lock files; the handle stays valid wherever its name leads later. Raises OSError."""
    if make:
        with suppress(FileExistsError):
            make_directory(path)
    directory = os.open(path, os.O_RDONLY | _DIRECTORY)
    try:
        if make:
            give_to_owner(directory, str(path.parent / path.name.removesuffix("-run")))
        yield directory
    finally:
        os.close(directory)


def _leads_to(path: Path | str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))  # noqa: PTH116
    except OSError:
        return False


def _is_directory(database_path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(_directory_of(database_path)), os.fstat(handle))  # noqa: PTH116
    except OSError:
        return False


def take_lease(database_path: str) -> Lease | None:
    """A new lease; None on systems without leases, or where none can be held. Raises StorageFailure, FileMoved."""
    if fcntl is None:
        return None
    try:
        with os_failures(database_path):
            lease = Lease(database_path)
    except FileNotFoundError as error:
        raise FileMoved(database_path) from error
    return lease if lease.is_held else None


@contextmanager
def dead_lease(database_path: str, lease_id: str) -> Iterator[bool]:
    """Whether the process of a lease is gone; False if that is unknown. If it was gone, its file is deleted after the
    block. Raises StorageFailure."""
    if not _is_lease_id(lease_id):
        # This program gave no such lease, so no process holds it, and no file of such a name is touched.
        yield True
        return
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)):
        yield False
        return
    path = _lock_file(database_path, lease_id)
    try:
        handle = _open_lock_file(path)
    except _NO_FILE:
        yield _is_missing_for_good(database_path, lease_id)
        return
    except OSError as error:
        if error.errno not in _ODD:
            raise os_failure(error, str(path)) from error
        logger.debug("%s cannot be opened: %s", path, error)
        yield False
        return
    with _dead_handle(handle, path) as dead:
        yield dead


def _is_missing_for_good(database_path: str, lease_id: str) -> bool:
    """Whether the process of a lease is gone, if its file is missing and its byte is not locked."""
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)) is False:
        return True
    now = time.monotonic()
    return now - _missing_since.setdefault(lease_id, now) >= MISSING_SECONDS


def _open_lock_file(path: Path) -> int:
    """Raises OSError; FileNotFoundError where there is none."""
    with _run_directory(path.parent) as directory:
        handle = _open_to_lock(path.name, directory)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EISDIR, "it is no file", str(path))
    return handle


def _open_to_lock(path: str | Path, directory: int | None = None) -> int:
    """Open a file to lock it. Some file systems lock only files that are open for writing."""
    flags = _NO_LINK | getattr(os, "O_NONBLOCK", 0)
    try:
        return os.open(path, os.O_RDWR | flags, dir_fd=directory)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags, dir_fd=directory)


@contextmanager
def dead_file(path: Path) -> Iterator[bool]:
    """Whether no process holds the lock of a file, or the file is missing. During the block no other process can find
    the same. If it was dead, it is deleted afterwards."""
    try:
        with os_failures(str(path)):
            handle = _open_to_lock(path)
    except FileNotFoundError:
        yield True
        return
    with _dead_handle(handle, path) as dead:
        yield dead


@contextmanager
def _dead_handle(handle: int, path: Path) -> Iterator[bool]:
    try:
        dead = try_lock(handle)
        yield dead
        if dead and _leads_to(path, handle):
            with suppress(FileNotFoundError):
                path.unlink()
    finally:
        os.close(handle)


def try_lock(handle: int) -> bool:
    """Take the ``flock`` of an open file, unless another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_dead(path: Path) -> bool:
    """Whether no process holds the lock of a file, or the file is missing. It changes nothing."""
    try:
        handle = _open_to_lock(path)
    except _NO_FILE:
        return True
    except OSError:
        return False
    try:
        return try_lock(handle)
    finally:
        os.close(handle)


def dead_lease_files(database_path: str) -> list[Path]:
    """Lock files whose process is gone. A file that is only a moment old may be about to be locked, and is left out."""
    young = time.time() - _YOUNG_SECONDS
    found = [path for path in lock_files(database_path) if _made_at(path) < young]
    return [path for path in found if is_dead_lease(database_path, path.stem)]


def lock_files(database_path: str) -> list[Path]:
    """Files with names of leases, as far as the directory can be listed."""
    try:
        names = sorted(os.listdir(f"{database_path}-run"))  # noqa: PTH208
    except OSError:
        return []
    return [Path(f"{database_path}-run", name) for name in names if _is_lease_id(name.removesuffix(".lock"))]


def _made_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def is_dead_lease(database_path: str, lease_id: str) -> bool:
    """Whether the process of a lease that a turn names is gone, as far as that is known now. It changes nothing."""
    if fcntl is None:
        return False
    if not _is_lease_id(lease_id):
        return True
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)):
        return False
    return is_dead(_lock_file(database_path, lease_id))


def remove_if_empty(database_path: str) -> None:
    """Delete the directory of the lock files if it is empty."""
    with suppress(OSError):
        Path(f"{database_path}-run").rmdir()


def _is_lease_id(lease_id: object) -> bool:
    return isinstance(lease_id, str) and _UUID.fullmatch(lease_id) is not None


def _number(lease_id: str) -> int:
    """The place of a lease's byte in the directory: offsets have 63 bits."""
    return uuid.UUID(lease_id).int >> 66


def _directory_of(database_path: str) -> str:
    return os.path.dirname(database_path)  # noqa: PTH120


def _lock_file(database_path: str, lease_id: str) -> Path:
    return Path(f"{database_path}-run") / f"{lease_id}.lock"
