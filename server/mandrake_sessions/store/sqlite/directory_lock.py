"""Locks that have no name which could be tidied away: a process holds one byte of a directory, by its number.

An open file description lock (``F_OFD_SETLK``) belongs to the open handle, as a ``flock`` does: it lasts while the
process is stopped, ends with it however it ends, and no other handle that is closed takes it away. A directory can be
locked for reading alone, which is enough to be seen by who asks whether it could be locked for writing. Who may read
the directory may ask, so a server of root's is seen by its owner's. Linux has these locks; elsewhere nobody holds any.
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

# ``struct flock``: type, whence, start, length, pid; filled up to a multiple of the longest.
_FLOCK = "hhqqi0q"


def hold(handle: int, number: int) -> bool:
    """Hold a byte of the directory that is open; whether it is seen to be held."""
    if not _are_there():
        return False
    assert fcntl is not None
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, number))
    except OSError:
        return False
    # Through another handle, as everybody else will look: some file systems take a lock and keep nothing of it.
    return bool(is_held(".", number, handle))


def is_held(directory: str, number: int, within: int | None = None) -> bool | None:
    """Whether anybody holds a byte of a directory; None where that cannot be told. ``within``: the open directory that
    a relative path begins at."""
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
