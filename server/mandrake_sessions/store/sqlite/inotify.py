"""Hearing that a file is written to, where the system tells (Linux)."""

from __future__ import annotations

import os
import sys
from typing import Final

# Written to or cut; its times, its mode or its count of links changed, or it was unlinked; renamed.
MODIFIED: Final = 0x2
ATTRIBUTES: Final = 0x4
RENAMED: Final = 0x800
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000


def watch_file(path: str, events: int) -> int | None:
    """A descriptor that becomes readable with the first of these events on the file; None where there is none to be
    had. Its caller closes it."""
    if sys.platform != "linux":
        return None
    try:
        # It takes a twentieth of the start of a command, and not each opens a store.
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        # Some systems build Python without it; no more files may be opened, say.
        return None
    handle: int = libc.inotify_init1(_NONBLOCK | _CLOEXEC)
    if handle < 0:
        return None
    if libc.inotify_add_watch(handle, os.fsencode(path), events) < 0:
        os.close(handle)
        return None
    return handle


def drain(handle: int) -> bool:
    """Forget the events of a descriptor that came until now; whether there were any."""
    found = False
    try:
        while os.read(handle, 65536):
            found = True
    except BlockingIOError:
        pass
    return found
