"""What the operating system says of a file that is not opened for it: to open a database, its -wal or -shm, and close
that handle again would drop SQLite's locks.
"""

from __future__ import annotations

import errno
import os
import stat


def file_size(path: str) -> int:
    """Bytes; 0 where there is no such file. A -wal may go at any moment, with the last process that closes it."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether it is there, as far as that can be told: False where a directory above it may not be searched, whichever
    Python runs this (``Path.exists`` raises there before 3.14)."""
    try:
        os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return True


def is_file(path: str) -> bool:
    """Whether a file is there. Raises OSError where that cannot be told: nobody who looks for a store and may not look
    should read that there is none."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False


def explain(error: OSError, path: str) -> str:
    """What the operating system says; where it denies something, also whose the file is, or the directory above it."""
    said = error.strerror or str(error)
    return f"{said}; {whose(path)}" if error.errno in (errno.EACCES, errno.EPERM) else said


def whose(path: str) -> str:
    """Who owns the file or, where that is not there or cannot be seen, the nearest directory above it that can."""
    while True:
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            above = os.path.dirname(path)  # noqa: PTH120
            if above == path:
                return "its owner is not known"
            path = above
            continue
        mode = stat.S_IMODE(found.st_mode)
        return f"{path} belongs to {_user(found.st_uid)}, mode {mode:04o}, and this process runs as {_user(_own_uid())}"


def _own_uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _user(uid: int) -> str:
    try:
        import pwd  # not on Windows, and only for an error

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"
