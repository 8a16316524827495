"""Detects that somebody has overwritten the database in place, as ``cp`` over it, ``dd`` and ``rsync --inplace`` do.

The file keeps its inode then, and neither SQLite nor the directory's time shows it. But in WAL mode only a checkpoint
writes to the file, and every checkpoint leaves marks in the -shm: ``nBackfillAttempted`` before it begins,
``nBackfill`` when it is done. So if the file and its content changed between two looks, and no mark moved, another
program wrote. The module reads the files through the handles that SQLite has, since closing another handle would drop
SQLite's locks.
"""

from __future__ import annotations

import errno
import os
import zlib
from contextlib import suppress
from typing import Final

from attrs import frozen

# A file of up to so many bytes is compared as a whole. Of a larger file, so many blocks are compared, spread over it.
_COMPARED_WHOLE: Final = 256 * 1024
_BLOCK: Final = 4096
_BLOCKS: Final = _COMPARED_WHOLE // _BLOCK
_HEADER: Final = 512
_COPIED_AT_ONCE: Final = 1024 * 1024
# In the -shm: the salts of the -wal, which change whenever it starts again, and the two marks.
_SHM_BYTES: Final = 132
_SALTS: Final = slice(32, 40)
_DONE: Final = slice(96, 100)
_ATTEMPTED: Final = slice(128, 132)

# The time of the last change (the one that programs can set), and the size in bytes.
_State = tuple[int, int, int]


@frozen
class _Sample:
    state: _State
    marks: bytes
    content: int


class Content:
    """What the file held at the last look."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handles: dict[str, int] = {}
        self._known: _Sample | None = None
        self._was_overwritten = False
        # As of the last look: which file the name leads to, and whether somebody has truncated it to nothing. Such a
        # file can still be read from its -wal, and must not be written.
        self.identity: tuple[int, int] | None = None
        self.is_emptied = False
        self.look()

    @property
    def is_overwritten(self) -> bool:
        """Whether the file is known to differ from what SQLite expects. While nothing has changed this costs one
        ``stat`` and a short read. It also notes a -wal that has started again, since that moves the marks and not the
        file."""
        if not self._was_overwritten:
            known, self.identity = self._known, None
            with suppress(OSError):
                found = os.stat(self._path)  # noqa: PTH116
                self.identity = found.st_dev, found.st_ino
                # A checkpoint never makes the file shorter than that.
                self.is_emptied = found.st_size < _HEADER
                if known is None or _state(found) != known.state or self._marks() != known.marks:
                    self.look()
        return self._was_overwritten

    def copy_to(self, path: str) -> None:
        """Write what the file holds now, without the -wal, over another file. Raises OSError."""
        source = self._handle("")
        if source is None:
            raise FileNotFoundError(errno.ENOENT, "it is not open here", self._path)
        with open(path, "r+b") as copy:  # noqa: PTH123
            at = 0
            while part := os.pread(source, _COPIED_AT_ONCE, at):
                copy.write(part)
                at += len(part)

    def look(self) -> None:
        """Compare the file with what it was at the last look, and remember what it is now."""
        now = self._sample()
        if now is None:
            return
        before, self._known = self._known, now
        self._was_overwritten = (
            before is not None
            and before.marks == now.marks
            and (before.state[2] != now.state[2] or before.content != now.content)
        )

    def _sample(self) -> _Sample | None:
        """None during a checkpoint, for an emptied file, and if nothing can be read."""
        with suppress(OSError):
            marks = self._marks()
            database = self._handle("")
            if marks is None or database is None:
                return None
            state = _state(os.fstat(database))
            if state[2] < _HEADER:
                return None
            content = _content(database, state[2])
            if self._handle("") == database and self._marks() == marks and _state(os.fstat(database)) == state:
                return _Sample(state, marks, content)
        return None

    def _marks(self) -> bytes | None:
        # This process keeps its handle on the -shm as long as the database is open.
        shm = self._handles.get("-shm") or self._handle("-shm")
        found = b"" if shm is None else os.pread(shm, _SHM_BYTES, 0)
        if len(found) < _SHM_BYTES or found[_DONE] != found[_ATTEMPTED]:
            return None
        return found[_SALTS] + found[_DONE]

    def _handle(self, suffix: str) -> int | None:
        """A handle that this process has open on the file with this suffix."""
        known = self._handles.get(suffix)
        try:
            wanted = os.stat(self._path + suffix)  # noqa: PTH116
            if known is not None and os.path.samestat(wanted, os.fstat(known)):
                return known
        except OSError:
            pass
        else:
            handle = own_handle(wanted, open_handles())
            if handle is not None:
                self._handles[suffix] = handle
                return handle
        self._handles.pop(suffix, None)
        return None


def _state(found: os.stat_result) -> _State:
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size


def _content(handle: int, size: int) -> int:
    if size <= _COMPARED_WHOLE:
        return zlib.crc32(os.pread(handle, size, 0))
    found = 0
    last = size // _BLOCK - 1
    for number in range(_BLOCKS):
        found = zlib.crc32(os.pread(handle, _BLOCK, last * number // (_BLOCKS - 1) * _BLOCK), found)
    return found


def own_handle(wanted: os.stat_result, handles: list[int]) -> int | None:
    """The first of these handles that is open on that file."""
    for handle in handles:
        with suppress(OSError):
            if os.path.samestat(wanted, os.fstat(handle)):
                return handle
    return None


def open_handles() -> list[int]:
    """All handles that this process has open; none if the system does not list them."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sorted(int(name) for name in os.listdir(directory))  # noqa: PTH208
    return []
