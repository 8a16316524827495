"""Hearing that files are written to, where the system tells (Linux)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

# Written to or cut; its times, its mode or its count of links changed, or it was unlinked; renamed.
MODIFIED: Final = 0x2
ATTRIBUTES: Final = 0x4
RENAMED: Final = 0x800
# In a directory: closed by who wrote it, moved out of it, moved into it, made.
WRITTEN: Final = 0x8
MOVED_AWAY: Final = 0x40
MOVED_HERE: Final = 0x80
MADE: Final = 0x100
# Of events alone: some were lost; the watch has ended; it is about a directory.
LOST: Final = 0x4000
ENDED: Final = 0x8000
OF_DIRECTORY: Final = 0x4000_0000
# Of watches alone: a directory, and no link to one.
_ONLY_DIRECTORY, _NO_LINK = 0x100_0000, 0x200_0000
_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000
_HEAD = struct.Struct("iIII")


def watch_file(path: str, events: int) -> int | None:
    """A descriptor that becomes readable with the first of these events on the file; None where there is none to be
    had. Its caller closes it."""
    handle = new_handle()
    if handle is None:
        return None
    if _watch(handle, path, events) is None:
        os.close(handle)
        return None
    return handle


def new_handle() -> int | None:
    """A descriptor for any number of watches; None where there is none to be had."""
    if sys.platform != "linux" or (library := _library()) is None:
        return None
    handle: int = library.inotify_init1(_NONBLOCK | _CLOEXEC)
    return None if handle < 0 else handle


def watch_directory(handle: int, path: str, events: int) -> int | None:
    """Watch what happens to the files of a directory, which is no link; gives the watch's number, the same for the
    same directory. None where it cannot be watched."""
    return _watch(handle, path, events | _ONLY_DIRECTORY | _NO_LINK)


def _watch(handle: int, path: str, events: int) -> int | None:
    if (library := _library()) is None:
        return None
    watch: int = library.inotify_add_watch(handle, os.fsencode(path), events)
    return None if watch < 0 else watch


def _library() -> Any:
    """The system's own; None where it is not to be had."""
    try:
        # It takes a twentieth of the start of a command, and not each opens a store.
        import ctypes

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        # Some systems build Python without it; no more files may be opened, say.
        return None


class Happened(NamedTuple):
    """An event: the number of the watch, which kinds it is of, and the name of the file in the directory."""

    watch: int
    kinds: int
    name: str


def read_events(handle: int) -> Iterator[Happened]:
    """What happened until now."""
    try:
        while data := os.read(handle, 65536):
            at = 0
            while at < len(data):
                watch, kinds, _, length = _HEAD.unpack_from(data, at)
                at += _HEAD.size
                yield Happened(watch, kinds, os.fsdecode(data[at : at + length].rstrip(b"\0")))
                at += length
    except BlockingIOError:
        pass


def drain(handle: int) -> bool:
    """Forget the events of a descriptor that came until now; whether there were any."""
    found = False
    try:
        while os.read(handle, 65536):
            found = True
    except BlockingIOError:
        pass
    return found
