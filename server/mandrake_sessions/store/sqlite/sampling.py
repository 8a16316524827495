"""Samples of an open database: what its file holds, as far as that can be compared at every look, and what SQLite says
in the -shm of its own writes.

A small file is compared as a whole, of a larger one blocks spread over it. Where there is inotify, it also tells
whether anybody has written to the file between two samples.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from typing import Final

from attrs import frozen

from mandrake_sessions.inotify import MODIFIED, drain, watch_file
from mandrake_sessions.store.sqlite.handles import Handles
from mandrake_sessions.store.sqlite.wal import Wal
from mandrake_sessions.store.sqlite.wal_index import WalIndex

# No checkpoint makes a database shorter than that.
SHORTEST: Final = 512
# A file up to so many bytes is compared as a whole; of a larger one so many blocks, spread over it.
_COMPARED_WHOLE: Final = 256 * 1024
_BLOCK: Final = 4096
_BLOCKS: Final = _COMPARED_WHOLE // _BLOCK

# Time of the last change, the one that can be set, and bytes.
State = tuple[int, int, int]


@frozen
class Sample:
    """``content``: the checksum of what is compared. ``whole``: of the whole file; None while that is unknown."""

    state: State
    index: WalIndex
    content: int
    whole: int | None

    @property
    def size(self) -> int:
        return self.state[2]

    @property
    def is_complete(self) -> bool:
        """Whether ``content`` is that of the whole file."""
        return self.size <= _COMPARED_WHOLE

    def looks_like(self, earlier: Sample) -> bool:
        return self.size == earlier.size and self.content == earlier.content


class Sampler:
    """Takes samples of a database. ``was_written``: whether somebody was heard to write to it, until its user clears
    that. Used by one thread at a time."""

    def __init__(self, path: str, handles: Handles, wal: Wal) -> None:
        self.was_written = False
        self._path = path
        self._handles = handles
        self._wal = wal
        self._writes: int | None = None

    def take(self) -> Sample | None:
        """None while somebody is at a checkpoint, for a database that was cut, and where nothing can be told."""
        with suppress(OSError):
            # First: a checkpoint that writes after the index was read has changed the index before.
            self.hear_writes()
            index = self._wal.index()
            database = self._handles.find("")
            if index is None or not index.is_at_rest or database is None:
                return None
            state = state_of(os.fstat(database))
            if state[2] < SHORTEST:
                return None
            sample = Sample(state, index, _content(database, state[2]), None)
            again = self._wal.index()
            is_same = self._handles.find("") == database and again is not None and again.has_marks_of(index)
            if is_same and state_of(os.fstat(database)) == state and not self.hear_writes():
                return sample
        return None

    @property
    def is_listening(self) -> bool:
        """Whether a write would be heard."""
        return self._writes is not None

    def listen(self) -> None:
        """Hear of writes from now on, where the system tells of them."""
        if self._writes is None:
            self._writes = watch_file(self._path, MODIFIED)

    def hear_writes(self) -> bool:
        """Whether somebody has written to the database since this was asked last."""
        found = self._writes is not None and drain(self._writes)
        self.was_written = self.was_written or found
        return found

    def close(self) -> None:
        """Hear of no more writes."""
        if self._writes is not None:
            os.close(self._writes)
            self._writes = None


def state_of(found: os.stat_result) -> State:
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size


def _content(handle: int, size: int) -> int:
    if size <= _COMPARED_WHOLE:
        return zlib.crc32(os.pread(handle, size, 0))
    found = 0
    last = size // _BLOCK - 1
    for number in range(_BLOCKS):
        found = zlib.crc32(os.pread(handle, _BLOCK, last * number // (_BLOCKS - 1) * _BLOCK), found)
    return found
