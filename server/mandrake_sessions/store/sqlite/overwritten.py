"""Whether somebody has written over the database in place, as ``cp`` over it, ``dd`` and ``rsync --inplace`` do.

The file keeps its inode then, and neither SQLite nor a directory's time tells. But in WAL mode only a checkpoint writes
to the file, and every checkpoint leaves its mark in the -shm: before it begins in ``nBackfillAttempted``, and when it
is done in ``nBackfill``. So where the file changed between two looks, its content too, and no mark moved, it was none
of us. The files are read through the handles that SQLite has: closing another one would drop its locks.
"""

from __future__ import annotations

import errno
import os
import zlib
from contextlib import suppress
from typing import Final

from attrs import frozen

# A file up to so many bytes is compared as a whole; of a larger one so many blocks, spread over it.
_COMPARED_WHOLE: Final = 256 * 1024
_BLOCK: Final = 4096
_BLOCKS: Final = _COMPARED_WHOLE // _BLOCK
_HEADER: Final = 512
_COPIED_AT_ONCE: Final = 1024 * 1024
# In the -shm: the salts of the -wal, which each new beginning of it changes, and the two marks.
_SHM_BYTES: Final = 132
_SALTS: Final = slice(32, 40)
_DONE: Final = slice(96, 100)
_ATTEMPTED: Final = slice(128, 132)

# Time of the last change, the one that can be set, and bytes.
_State = tuple[int, int, int]


@frozen
class _Sample:
    state: _State
    marks: bytes
    content: int


class Content:
    """What the file held when it was looked at last."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handles: dict[str, int] = {}
        self._known: _Sample | None = None
        self._was_overwritten = False
        # As of the last look: which file the name leads to, and whether somebody has cut it to nothing. Then what is in
        # the -wal can be read, and nothing may be added.
        self.identity: tuple[int, int] | None = None
        self.is_emptied = False
        self.look()

    @property
    def is_overwritten(self) -> bool:
        """Whether it is known not to be what SQLite takes it for; one ``stat`` and a short read while nothing has
        changed. A -wal that was begun again is noted too, since that moves the marks and not the file."""
        if not self._was_overwritten:
            known, self.identity = self._known, None
            with suppress(OSError):
                found = os.stat(self._path)  # noqa: PTH116
                self.identity = found.st_dev, found.st_ino
                # No checkpoint makes it shorter than that.
                self.is_emptied = found.st_size < _HEADER
                if known is None or _state(found) != known.state or self._marks() != known.marks:
                    self.look()
        return self._was_overwritten

    def copy_to(self, path: str) -> None:
        """Write what is in the file now, without the -wal, over another one. Raises OSError."""
        source = self._handle("")
        if source is None:
            raise FileNotFoundError(errno.ENOENT, "it is not open here", self._path)
        with open(path, "r+b") as copy:  # noqa: PTH123
            at = 0
            while part := os.pread(source, _COPIED_AT_ONCE, at):
                copy.write(part)
                at += len(part)

    def look(self) -> None:
        """Compare the file with what it was at the last look, and remember what it is."""
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
        """None while somebody is at a checkpoint, for an emptied file, and where nothing can be told."""
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
        # The one that this process has on the -shm lasts as long as the database is open here.
        shm = self._handles.get("-shm") or self._handle("-shm")
        found = b"" if shm is None else os.pread(shm, _SHM_BYTES, 0)
        if len(found) < _SHM_BYTES or found[_DONE] != found[_ATTEMPTED]:
            return None
        return found[_SALTS] + found[_DONE]

    def _handle(self, suffix: str) -> int | None:
        """One that this process has open on the file with this suffix."""
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
    """The first of these that is open on that file."""
    for handle in handles:
        with suppress(OSError):
            if os.path.samestat(wanted, os.fstat(handle)):
                return handle
    return None


def open_handles() -> list[int]:
    """All that this process has open; none where the system does not list them."""
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return sorted(int(name) for name in os.listdir(directory))  # noqa: PTH208
    return []
