"""Leases without heartbeats: whose turn it is, and whether that process is still there.

A process that streams holds an exclusive ``flock`` on a file of its own, and its turns name that file. Who can take the
lock knows that its holder is gone: the kernel frees it on any end, a ``kill -9`` too, and keeps it while the process is
stopped or the machine sleeps. So there is no pid to be reused, no clock, and nothing to write while it lives.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from types import ModuleType

from mandrake_sessions.store.failures import os_failures

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: there turns belong to nobody, and wait for whoever takes them up.
    fcntl = None

_YOUNG_SECONDS = 1.0


class Lease:
    """This process's, for one database; the file is made and locked before any turn can name it."""

    def __init__(self, database_path: str) -> None:
        assert fcntl is not None
        self.id = str(uuid.uuid4())
        self._path = _lock_file(database_path, self.id)
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self) -> None:
        """The process streams no more. A turn that still names the lease is nobody's then."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._handle)
        # The last one tidies up.
        with suppress(OSError):
            self._path.parent.rmdir()

    def abandon(self) -> None:
        """In a forked child: the lock is the parent's, and must not outlive it here."""
        os.close(self._handle)


def take_lease(database_path: str) -> Lease | None:
    """A new lease; None where there are no leases. Raises StorageFailure."""
    with os_failures(database_path):
        return None if fcntl is None else Lease(database_path)


def streaming_leases(connection: Connection) -> set[str]:
    """The leases that turns name which stream now."""
    return {row[0] for row in connection.execute("SELECT DISTINCT lease FROM turn WHERE status = 'streaming'")} - {None}


def turn_ids_of_lease(connection: Connection, lease_id: str) -> list[str]:
    """The turns that stream under a lease."""
    rows = connection.execute("SELECT id FROM turn WHERE status = 'streaming' AND lease = ? ORDER BY pk", (lease_id,))
    return [row[0] for row in rows]


@contextmanager
def dead_lease(database_path: str, lease_id: str) -> Iterator[bool]:
    """Whether the process of a lease is gone. For the block nobody else can find the same; if it was dead, its file is
    gone afterwards. Raises StorageFailure."""
    with dead_file(_lock_file(database_path, lease_id)) as dead:
        yield dead


@contextmanager
def dead_file(path: Path) -> Iterator[bool]:
    """Whether nobody holds the lock of a file, or it is not there. For the block nobody else can find the same; if it
    was dead, it is gone afterwards."""
    try:
        with os_failures(str(path)):
            handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        dead = try_lock(handle)
        yield dead
        if dead:
            path.unlink(missing_ok=True)
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
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
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
    found = sorted(Path(f"{database_path}-run").glob("*.lock"))
    return [path for path in found if _made_at(path) < young and is_dead(path)]


def _made_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_dead_lease(database_path: str, lease_id: str) -> bool:
    """Whether the process of a lease that a turn names is gone; nothing is changed."""
    return fcntl is not None and is_dead(_lock_file(database_path, lease_id))


def remove_if_empty(database_path: str) -> None:
    """Take the directory of the lock files away with the last of them."""
    with suppress(OSError):
        Path(f"{database_path}-run").rmdir()


def _lock_file(database_path: str, lease_id: str) -> Path:
    return Path(f"{database_path}-run") / f"{lease_id}.lock"
