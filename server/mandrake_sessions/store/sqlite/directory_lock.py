"""Locks without a name that somebody could delete: a process locks one byte of a directory.

An open file description lock (``F_OFD_SETLK``) belongs to the open handle, as a ``flock`` does. It lasts while the
process is stopped and ends with the process. Closing another handle does not end it. A directory can be opened for
reading alone; such a lock is enough for another process to see, when it asks whether it could lock for writing. A
process that may read the directory may ask, so a server of the owner sees one of root. Only Linux has these locks.
"""

from __future__ import annotations

import os
import struct
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None

# ``struct flock``: type, whence, start, length, pid; padded to a multiple of the longest.
_FLOCK = "hhqqi0q"


def hold(handle: int, number: int) -> bool:
    """Lock a byte of the open directory; gives whether another handle sees the lock."""
    if not _are_there():
        return False
    assert fcntl is not None
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, number))
    except OSError:
        return False
    # Ask through another handle, as other processes will: some file systems accept a lock and keep nothing of it.
    return bool(is_held(".", number, handle))


def is_held(directory: str, number: int, within: int | None = None) -> bool | None:
    """Whether any process holds a byte of a directory; None if the system does not tell. ``within``: the open directory
    at which a relative path begins."""
    if not _are_there():
        return None
    assert fcntl is not None
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY, dir_fd=within)
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, number))
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
    except OSError:
        return None
    finally:
        os.close(handle)


def _are_there() -> bool:
    return hasattr(fcntl, "F_OFD_SETLK")


def _request(kind: int, number: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, number, 1, 0)
