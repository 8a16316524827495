"""Facts about files from the operating system, without opening them. Opening and closing a database, -wal or -shm by
hand would drop SQLite's locks."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import Final

# Seconds that the making of a file may take until it has content.
BIRTH_SECONDS = 5.0


def file_size(path: str) -> int:
    """The size in bytes; 0 if there is no such file. The last process that closes a database deletes the -wal."""
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether the file exists. False if a directory above it denies the search, with every Python (before 3.14,
    ``Path.exists`` raises there)."""
    try:
        os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return True


def is_gone(path: str) -> bool:
    """Whether there is nothing at all under this name. False if the system does not tell."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def is_file(path: str) -> bool:
    """Whether a file exists. Raises OSError if the system does not tell: a program that may not look for a store must
    not conclude that there is none."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False


def explain(error: OSError, path: str) -> str:
    """The operating system's message, and what to do. If it denies access, the text also names the owner of the file,
    or of the directory above it."""
    said = error.strerror or str(error)
    if error.errno in _ADVICE:
        return f"{said}; {_ADVICE[error.errno]}"
    return f"{said}; {whose(path)}" if error.errno in (errno.EACCES, errno.EPERM) else said


_ADVICE: Final = {
    errno.ENOSPC: "the disk is full, free some space",
    errno.EDQUOT: "your quota is used up, free some space",
    errno.EFBIG: "no file may be so long here, check how large one may be (ulimit -f)",
    errno.EROFS: "it is mounted so that it can only be read",
}


def whose(path: str) -> str:
    """A sentence about the owner and mode of the file, or of the nearest directory above it that is visible."""
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


def stays_empty(path: str) -> bool:
    """Whether there is a file without any content that nobody is just making: a file is born without content, so one
    that was made a moment ago is looked at again. Blocks for up to ``BIRTH_SECONDS``."""
    deadline = time.monotonic() + BIRTH_SECONDS
    while True:
        try:
            found = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            return False
        if found.st_size or not stat.S_ISREG(found.st_mode):
            return False
        if abs(time.time() - found.st_mtime) >= BIRTH_SECONDS or time.monotonic() >= deadline:
            return True
        time.sleep(0.01)


def is_mounted_read_only(path: str) -> bool:
    """Whether the file system of the path takes no writes, whoever the user is."""
    try:
        return hasattr(os, "statvfs") and bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _own_uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def _user(uid: int) -> str:
    try:
        import pwd  # not on Windows, and only for an error

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return f"user {uid}"
