"""Whether the -wal and -shm of an open database are what SQLite takes them for: what they say only grows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from mandrake_sessions.errors import Busy
from mandrake_sessions.file_locks import fcntl
from mandrake_sessions.store.sqlite import wal_index
from mandrake_sessions.store.sqlite.handles import Handles
from mandrake_sessions.store.sqlite.wal_index import WalIndex

# The byte of the -shm that a writer locks (SQLite's file format, "WAL Locks").
_WRITE_LOCK_AT: Final = 120
# A -wal of so many frames is copied into the database, as SQLite's automatic checkpoint does.
_LONG_FRAMES: Final = 1000
# Where a -wal has its salts.
_SALTS_AT: Final = 16


class Wal:
    """Used by one thread at a time."""

    def __init__(self, path: str, handles: Handles) -> None:
        self._path = path
        self._handles = handles
        # The beginning of the -shm as it was read last, and what it says.
        self._raw_index = b""
        self._parsed: WalIndex | None = None
        # The newest of them; and of the last look at the -wal, where the header of its last frame is, and what it was.
        self._newest: WalIndex | None = None
        self._framed: WalIndex | None = None
        self._last_frame_at = 0
        self._last_frame = b""

    def index(self) -> WalIndex | None:
        """What the -shm says now, as the same object while nothing has changed; None where it cannot be read. Raises
        OSError."""
        # The handle that this process has on the -shm lasts as long as the database is open here.
        shm = self._handles.get("-shm")
        raw = b"" if shm is None else os.pread(shm, wal_index.BYTES, 0)
        if raw != self._raw_index:
            self._raw_index, self._parsed = raw, wal_index.parse(raw)
        return self._parsed

    def index_or_none(self) -> WalIndex | None:
        """The same; None too where the -shm cannot be read."""
        with suppress(OSError):
            return self.index()
        return None

    @property
    def is_long(self) -> bool:
        """Whether it is time for a checkpoint, as of the last ``index``."""
        return self._parsed is not None and self._parsed.frames >= _LONG_FRAMES

    def sync(self) -> None:
        """Bring it to the disk; without effect where that fails."""
        wal = self._handles.find("-wal")
        if wal is not None:
            with suppress(OSError):
                os.fsync(wal)

    def went_back(self, index: WalIndex | None) -> bool:
        """Whether the -shm said more of the same -wal before."""
        before = self._newest
        if index is None:
            return False
        if before is not None and before.salts == index.salts and index.frames < before.frames:
            return True
        self._newest = index
        return False

    def is_whole(self, index: WalIndex | None) -> bool:
        """Whether the -wal still has the last frame that was seen in it, and holds what the -shm says. ``index``: what
        it said a moment ago. Raises OSError.

        Frames are there before they count, and no longer count before they go. So the -wal is broken if the -shm and
        the handle are the same afterwards.
        """
        wal = self._handles.get("-wal")
        while index is not None and wal is not None and not self._has_grown_to(index, wal):
            before, index = index, self.index()
            if self._handles.find("-wal") == wal and index == before:
                return False
            wal = self._handles.get("-wal")
        return True

    def _has_grown_to(self, index: WalIndex, wal: int) -> bool:
        before, size = self._framed, wal_index.FRAME_HEADER
        if before is not None and before.salts == index.salts and before.frames:
            if before.frames > index.frames or os.pread(wal, size, self._last_frame_at) != self._last_frame:
                return False
            if before.frames == index.frames:
                return True
        at = index.last_frame_at
        last_frame = os.pread(wal, size, at) if index.frames else b""
        if index.frames and len(last_frame) < size:
            return False
        self._framed, self._last_frame_at, self._last_frame = index, at, last_frame
        return True

    def is_same(self) -> bool:
        """Is this still the -wal from before the overwrite?"""
        before, wal = self._newest, self._handles.find("-wal")
        with suppress(OSError):
            if before is not None and wal is not None and os.fstat(wal).st_size >= before.wal_bytes:
                return os.pread(wal, len(before.salts), _SALTS_AT) in (b"", before.salts)
        return False

    @contextmanager
    def write_lock(self, budget: float) -> Iterator[None]:
        """Hold SQLite's lock of writers for the block, whatever the files hold: with a -wal that is not its own, SQLite
        itself can begin no transaction. Called under the lock of this process's writer, which is in none.

        Raises:
            Busy: another process held it for ``budget`` seconds.
            OSError: it cannot be had.
        """
        shm = self._handles.find("-shm")
        if shm is None or fcntl is None:
            yield
            return
        deadline = time.monotonic() + budget
        while True:
            try:
                fcntl.lockf(shm, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _WRITE_LOCK_AT)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() >= deadline:
                    raise Busy(self._path, round(budget * 1000)) from None
                time.sleep(0.005)
        try:
            yield
        finally:
            fcntl.lockf(shm, fcntl.LOCK_UN, 1, _WRITE_LOCK_AT)
