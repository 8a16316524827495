"""Files that processes lock to show that they are alive: those of leases, in ``<database>-run/``, and unfinished files.

A process holds an exclusive ``flock`` on a file of its own. Whoever can take that lock knows that the process is gone.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mandrake_sessions.errors import StoreMoved
from mandrake_sessions.file_locks import fcntl, open_to_lock, try_lock
from mandrake_sessions.files import whose
from mandrake_sessions.owners import give_to_owner, make_directory
from mandrake_sessions.store.sql.values import is_uuid
from mandrake_sessions.store.sqlite.failures import os_failures

# There is no lock file, or something else has the name of its directory.
NO_FILE: Final = (FileNotFoundError, NotADirectoryError)
# Errors that every further try would meet too. A full disk, or no free file descriptor, is another matter.
LASTING: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR}
)
_YOUNG_SECONDS: Final = 1.0
# How often to try, since other processes may delete the directory of the lock files meanwhile.
_ATTEMPTS: Final = 1000
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0) | _NO_LINK


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


def lock_file(database_path: str, lease_id: str) -> Path:
    return Path(f"{database_path}-run") / f"{lease_id}.lock"


def settled_lock_files(database_path: str) -> list[Path]:
    """Files with names of leases, as far as the directory can be listed. A file that is only a moment old may be about
    to be locked, and is left out."""
    try:
        names = sorted(os.listdir(f"{database_path}-run"))  # noqa: PTH208
    except OSError:
        return []
    young = time.time() - _YOUNG_SECONDS
    found = [Path(f"{database_path}-run", name) for name in names if is_uuid(name.removesuffix(".lock"))]
    return [path for path in found if _made_at(path) < young]


def _made_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def remove_if_empty(database_path: str) -> None:
    """Delete the directory of the lock files if it is empty."""
    with suppress(OSError):
        Path(f"{database_path}-run").rmdir()


def make_lock_file(database_path: str, path: Path) -> int:
    """Create a file at ``path`` and lock it; gives the handle. Raises OSError, StoreMoved."""
    assert fcntl is not None
    for _ in range(_ATTEMPTS):
        if not path.parent.parent.is_dir():
            raise StoreMoved(database_path)
        with suppress(FileNotFoundError), _run_directory(path.parent, make=True) as directory:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=directory)
            handle = os.open(path.name, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_LINK, 0o600, dir_fd=directory)
            give_to_owner(handle, database_path)
            # Until it is locked, another process may take the file for a dead one and delete it.
            if try_lock(handle) and leads_to(path, handle):
                return handle
            os.close(handle)
    raise OSError(errno.EAGAIN, "it is deleted as often as it is made", str(path))


def named_lock(database_path: str, name: str) -> int | None:
    """Lock a file of that name beside a database; gives the handle, None where another process holds it. It is free
    when its process is gone. Raises OSError."""
    path = Path(f"{database_path}-run") / name
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError), _run_directory(path.parent, make=True) as directory:
            handle = os.open(name, os.O_CREAT | os.O_RDWR | _NO_LINK, 0o600, dir_fd=directory)
            give_to_owner(handle, database_path)
            if not try_lock(handle):
                os.close(handle)
                return None
            if leads_to(path, handle):
                return handle
            # Somebody has deleted it just now.
            os.close(handle)
    raise OSError(errno.EAGAIN, "it is deleted as often as it is made", str(path))


def open_lock_file(path: Path) -> int:
    """Raises OSError; FileNotFoundError where there is none."""
    with _run_directory(path.parent) as directory:
        handle = open_to_lock(path.name, directory)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EISDIR, "it is no file", str(path))
    return handle


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


@contextmanager
def dead_file(path: Path) -> Iterator[bool]:
    """Whether no process holds the lock of a file, or the file is missing. During the block no other process can find
    the same. If it was dead, it is deleted afterwards."""
    try:
        with os_failures(str(path)):
            handle = open_to_lock(path)
    except FileNotFoundError:
        yield True
        return
    with dead_handle(handle, path) as dead:
        yield dead


def is_dead(path: Path) -> bool:
    """Whether no process holds the lock of a file, or the file is missing. It changes nothing."""
    try:
        handle = open_to_lock(path)
    except NO_FILE:
        return True
    except OSError:
        return False
    try:
        return try_lock(handle)
    finally:
        os.close(handle)


@contextmanager
def dead_handle(handle: int, path: Path) -> Iterator[bool]:
    """``dead_file`` of a file that is open; closes it."""
    try:
        dead = try_lock(handle)
        yield dead
        if dead and leads_to(path, handle):
            with suppress(FileNotFoundError):
                path.unlink()
    finally:
        os.close(handle)


def leads_to(path: Path | str, handle: int) -> bool:
    """Whether this handle is open on the file to which the path leads."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))  # noqa: PTH116
    except OSError:
        return False
