"""Leases without heartbeats: whose turn it is, and whether that process is still there.

A process that streams has a lease, which its turns name, and holds two locks for it: one byte of the database's own
directory (``directory_lock.py``), and an exclusive ``flock`` on a file in ``<database>-run/``. The kernel frees both on
any end, a ``kill -9`` too, and keeps them while the process is stopped or the machine sleeps. So there is no pid to be
reused, no clock, and nothing to write while it lives.

The byte has no name, so nobody can tidy it away; a lock file that went says nothing of a process whose byte is held.
The file is for systems that have no such locks, and for programs of before; its owner makes it again when it went.
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
except ImportError:  # Windows: there turns belong to nobody, and wait for whoever takes them up.
    fcntl = None

logger = logging.getLogger(__name__)

_YOUNG_SECONDS = 1.0
# Where bytes of directories cannot be locked: so long a lock file has to be missing before its process counts as gone,
# since an owner that is there makes it again.
MISSING_SECONDS = 15.0
# Others tidy the directory of the lock files away while one is made in it.
_ATTEMPTS = 1000
# It stays as it is however often it is tried; a full disk, or no file handle left, does not.
_ODD = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR})
# There is no lock file, or something else stands in the place of their directory.
_NO_FILE = (FileNotFoundError, NotADirectoryError)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | _NO_LINK
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_missing_since: dict[str, float] = {}
_told: set[Path] = set()


class Lease:
    """This process's, for one database; its locks are held before any turn can name it."""

    def __init__(self, database_path: str) -> None:
        self.id = str(uuid.uuid4())
        self._database = database_path
        self._directory: int | None = None
        self._file: int | None = None
        # What looking after it failed with last; it is told once, not at each look.
        self._failed = ""
        try:
            self._hold_directory()
            self._hold_file()
        except BaseException:
            self.abandon()
            raise

    @property
    def is_held(self) -> bool:
        """Whether others can see that this process is there."""
        return self._directory is not None or self._file is not None

    def look_after(self) -> None:
        """Hold again what was taken away from under it; what cannot be now is tried again the next time."""
        try:
            self._hold_again()
            self._failed = ""
        except (OSError, FileMoved) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                logger.warning("the lease on %s could not be looked after: %s", self._database, error)

    def _hold_again(self) -> None:
        if self._directory is not None and not _is_directory(self._database, self._directory):
            self._hold_directory()
        if self._file is not None and not _leads_to(self._path, self._file):
            logger.warning("%s went while it was in use; it is made again", self._path)
            self._hold_file()

    def release(self) -> None:
        """The process streams no more. A turn that still names the lease is nobody's then."""
        if self._file is not None and _leads_to(self._path, self._file):
            with suppress(OSError):
                self._path.unlink()
        self.abandon()
        # The last one tidies up.
        with suppress(OSError):
            self._path.parent.rmdir()

    def abandon(self) -> None:
        """In a forked child: the locks are the parent's, and must not outlive it here."""
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
    """Why lock files can be neither made nor asked for beside a database, and what to do; None where they can."""
    path = f"{database_path}-run"
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    if not stat.S_ISDIR(mode):
        return f"{path} is not a directory, so no lock files can be made in it; remove it"
    if os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return None
    return f"no lock files can be made in {path}: {whose(path)}; sudo chown -R it to the owner of the store"


def _tell_once(directory: Path, error: OSError, so: str) -> None:
    if directory not in _told:
        _told.add(directory)
        logger.warning("no lock file can be made in %s: %s; %s", directory, error.strerror, so)


def _make_lock_file(database_path: str, path: Path) -> int:
    """A new file at ``path``, locked by the handle that is given, and found there."""
    assert fcntl is not None
    for _ in range(_ATTEMPTS):
        if not path.parent.parent.is_dir():
            raise FileMoved(database_path)
        with suppress(FileNotFoundError), _run_directory(path.parent, make=True) as directory:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)
            handle = os.open(path.name, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_LINK, 0o600, dir_fd=directory)
            give_to_owner(handle, database_path)
            # Until it is locked somebody who tidies up may take it for a dead one.
            if try_lock(handle) and _leads_to(path, handle):
                return handle
            os.close(handle)
    raise OSError(errno.EAGAIN, "it is deleted as often as it is made", str(path))


@contextmanager
def _run_directory(path: Path, *, make: bool = False) -> Iterator[int]:
    """The directory of the lock files, open, wherever its name leads afterwards. Raises OSError."""
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
    """A new lease; None where there are no leases, or none can be held here. Raises StorageFailure, FileMoved."""
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
    """Whether the process of a lease is gone; False where that cannot be told. If it was dead, its file is gone after
    the block. Raises StorageFailure."""
    if not _is_lease_id(lease_id):
        # Nobody holds what this program has not given, and no file is looked for by such a name.
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
    """Whether the process of a lease whose file is not there, and whose byte nobody holds, is gone."""
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
    """To be locked is all that is needed of it; but some file systems lock only what may be written."""
    flags = _NO_LINK | getattr(os, "O_NONBLOCK", 0)
    try:
        return os.open(path, os.O_RDWR | flags, dir_fd=directory)
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags, dir_fd=directory)


@contextmanager
def dead_file(path: Path) -> Iterator[bool]:
    """Whether nobody holds the lock of a file, or it is not there. For the block nobody else can find the same; if it
    was dead, it is gone afterwards."""
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
    """Take the ``flock`` of an open file, if nobody else has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_dead(path: Path) -> bool:
    """Whether nobody holds the lock of a file, or it is not there; nothing is changed."""
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
    """Lock files whose process is gone. One that was made a moment ago may be about to be locked."""
    young = time.time() - _YOUNG_SECONDS
    found = [path for path in lock_files(database_path) if _made_at(path) < young]
    return [path for path in found if is_dead_lease(database_path, path.stem)]


def lock_files(database_path: str) -> list[Path]:
    """Files that are named like those of leases, as far as they can be listed."""
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
    """Whether the process of a lease that a turn names is gone, as far as that can be told now; nothing is changed."""
    if fcntl is None:
        return False
    if not _is_lease_id(lease_id):
        return True
    if directory_lock.is_held(_directory_of(database_path), _number(lease_id)):
        return False
    return is_dead(_lock_file(database_path, lease_id))


def remove_if_empty(database_path: str) -> None:
    """Take the directory of the lock files away with the last of them."""
    with suppress(OSError):
        Path(f"{database_path}-run").rmdir()


def _is_lease_id(lease_id: object) -> bool:
    return isinstance(lease_id, str) and _UUID.fullmatch(lease_id) is not None


def _number(lease_id: str) -> int:
    """Where in the directory its byte is: offsets have 63 bits."""
    return uuid.UUID(lease_id).int >> 66


def _directory_of(database_path: str) -> str:
    return os.path.dirname(database_path)  # noqa: PTH120


def _lock_file(database_path: str, lease_id: str) -> Path:
    return Path(f"{database_path}-run") / f"{lease_id}.lock"
