"""``flock`` on files, which tells whether the process that has one open is alive."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Final

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)


def open_to_lock(path: str | Path, directory: int | None = None) -> int:
    """Open a file to lock it, through no link. Some file systems lock only files that are open for writing. Raises
    OSError."""
    try:
        return os.open(path, os.O_RDWR | _NO_LINK | _NO_WAIT, dir_fd=directory)
    except PermissionError:
        return os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAIT, dir_fd=directory)


def try_lock(handle: int) -> bool:
    """Take the ``flock`` of an open file, unless another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
