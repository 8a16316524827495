"""Whether somebody has written over the files of a database in place, as ``cp`` over them, ``dd`` and ``rsync
--inplace`` do.

The files keep their inodes then, and neither SQLite nor a directory's time tells. But in WAL mode only a checkpoint
writes to the database, and every checkpoint leaves its mark in the -shm: before it begins in ``nBackfillAttempted``,
and when it is done in ``nBackfill``. So where the file changed between two looks, its content too, and no mark moved,
it was none of us. The files are read through the handles that SQLite has: closing another one would drop its locks.

The content is compared by samples (``sampling.py``). And inotify tells whether anybody has written to the file: one
that was merely touched is the same. If somebody has, connections may have read what was there meanwhile, so the file is
opened again. Whether it is still the same store (it may have been written over with its own bytes) is told by the
checksum of the whole file, where that is known from before.

The -shm also says how many frames the -wal holds. They only grow, until the -wal begins again with other salts. So an
-shm that goes back was overwritten; and a -wal that is shorter was cut, and what is written to it would be lost.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

from attrs import evolve

from mandrake_sessions.store.sqlite import whole_content
from mandrake_sessions.store.sqlite.handles import Handles
from mandrake_sessions.store.sqlite.sampling import SHORTEST, Sample, Sampler, state_of
from mandrake_sessions.store.sqlite.wal import Wal
from mandrake_sessions.store.sqlite.wal_index import WalIndex
from mandrake_sessions.store.sqlite.whole_content import ChecksumTaker, checksum

_SMALL: Final = 16 * 1024 * 1024


class Content:
    """What the files held when they were looked at last.

    ``handles``: those on the files. ``wal``: the -wal. ``identity``: which file the name of the database led to.
    ``is_emptied``: it is cut to nothing. Nothing may be written while it is so; what is in the -wal can be read.
    """

    def __init__(self, path: str) -> None:
        self.identity: tuple[int, int] | None = None
        self.is_emptied = False
        self._path = path
        self.handles = Handles(path)
        self.wal = Wal(path, self.handles)
        self._sampler = Sampler(path, self.handles, self.wal)
        # The last one that came from SQLite alone.
        self._known: Sample | None = None
        # What the -shm said at the last look that found nothing.
        self._settled: WalIndex | None = None
        self._was_overwritten = False
        self._is_wal_broken = False
        self._was_refilled = False
        self._taker = ChecksumTaker(self._take_checksum)
        # Threads read and write at once; a state that one has read is older than what another has remembered since.
        self._lock = threading.RLock()
        self.look()

    @property
    def is_overwritten(self) -> bool:
        """Whether it is known not to be what SQLite takes it for; one ``stat`` and a short read while nothing has
        changed. A -wal that was begun again is noted too, since that moves the marks and not the file."""
        with self._lock:
            try:
                self._look_at_names()
            except OSError:
                return self._was_overwritten
            return self._was_overwritten

    @property
    def is_wal_whole(self) -> bool:
        """Whether the -wal still has the last frame that was seen in it, and holds what the -shm says; one or two short
        reads."""
        with self._lock:
            try:
                return self._look_at_wal(self.wal.index())
            except OSError:
                return True

    @property
    def is_intact(self) -> bool:
        """Whether it is not overwritten and its -wal is whole: both looks, with one reading of the -shm."""
        with self._lock:
            try:
                index = self._look_at_names()
                return not self._was_overwritten and self._look_at_wal(index or self.wal.index())
            except OSError:
                return not self._was_overwritten

    def look(self) -> None:
        """Compare the database with what it was at the last look, and remember what it is."""
        with self._lock:
            self._compare()

    def learn(self) -> None:
        """``look``, in time to spare: take the checksum of a small file at once."""
        with self._lock:
            self._compare()
            if self.is_small:
                self._take_checksum()

    @property
    def is_small(self) -> bool:
        """Whether ``is_unchanged`` takes less than about 8 ms."""
        return self._known is not None and self._known.size <= _SMALL

    def is_unchanged(self) -> bool:
        """Whether it is what it was before somebody wrote to it. Reads the whole file: half a second a gigabyte."""
        with self._lock:
            alike = self._alike()
            return alike is not None and self._is_whole_content(*alike)

    @property
    def may_be_same(self) -> bool:
        """Could the content be unchanged? No look proves or disproves it, and something in the -wal is not in it."""
        with self._lock:
            alike = self._alike()
            if alike is None:
                return False
            now, known = alike
            is_known = now.is_complete or known.whole is not None
            return not is_known and now.index.frames > now.index.copied

    def close(self) -> None:
        """The files are looked at no more."""
        self._taker.close()
        self._sampler.close()

    def _look_at_wal(self, index: WalIndex | None) -> bool:
        is_whole = self.wal.is_whole(index)
        if not is_whole:
            self._was_overwritten = self._is_wal_broken = True
        return is_whole

    def _look_at_names(self) -> WalIndex | None:
        """Gives what the -shm said, where that was read."""
        known = self._known
        try:
            found = os.stat(self._path)  # noqa: PTH116
        except OSError:
            self.identity = None
            raise
        self.identity = found.st_dev, found.st_ino
        was_emptied, self.is_emptied = self.is_emptied, found.st_size < SHORTEST
        if self._was_overwritten:
            return None
        index = self.wal.index()
        is_unchanged = known is not None and state_of(found) == known.state
        if is_unchanged and index is not None and index is self._settled:
            return index
        self._was_refilled = self._was_refilled or (was_emptied and not self.is_emptied)
        if self.wal.went_back(index):
            self._was_overwritten = self._is_wal_broken = True
        elif known is None or not is_unchanged or not (index and index.has_marks_of(known.index)):
            self._compare()
        if not self._was_overwritten:
            self._settled = index
        return index

    def _compare(self) -> None:
        now = self._sampler.take()
        if now is None:
            return
        known = self._known
        was_written = self._sampler.was_written or self._was_refilled
        if known is None or not now.index.has_marks_of(known.index):
            # What was emptied was written by somebody else too.
            self._was_overwritten = self._was_overwritten or self._was_refilled
            # The marks move too when the -wal begins again, without a write to the database.
            is_untouched = self._sampler.is_listening and not was_written
            self._accept(now, known if known is not None and is_untouched and now.state == known.state else None)
            return
        if now.looks_like(known) and not was_written:
            self._accept(now, known)
        else:
            self._was_overwritten = True

    def _accept(self, now: Sample, same: Sample | None) -> None:
        """Remember the present content. ``same``: an earlier look at the same one."""
        self._sampler.was_written = self._was_refilled = False
        self._known = evolve(now, whole=None if same is None else same.whole)
        self._sampler.listen()
        if not now.is_complete and self._known.whole is None:
            self._taker.wanted(now.size)

    def _alike(self) -> tuple[Sample, Sample] | None:
        """The present sample and the known one, where nothing that they compare tells them apart."""
        now, known = self._sampler.take(), self._known
        if now is None or known is None or self._is_wal_broken or not now.index.has_marks_of(known.index):
            return None
        return (now, known) if now.looks_like(known) else None

    def _is_whole_content(self, now: Sample, known: Sample) -> bool:
        """Whether the whole content is the known one. ``now`` is the present sample."""
        if now.is_complete:
            return True
        handle = self.handles.find("")
        with suppress(OSError):
            if handle is not None and known.whole is not None and checksum(handle, now.size) == known.whole:
                return state_of(os.fstat(handle)) == now.state and not self._sampler.hear_writes()
        return False

    def _take_checksum(self) -> bool:
        """On a thread: take the checksum of the content that is known. Gives whether it is known now, or never will
        be."""
        with self._lock:
            known, handle = self._known, self.handles.find("")
            if known is None or handle is None or self._was_overwritten or known.size > whole_content.MAX_BYTES:
                return True
        try:
            whole = checksum(handle, known.size, lambda: self._known is known and not self._taker.is_closed)
        except OSError:
            return True
        with self._lock:
            if self._taker.is_closed:
                return True
            if whole is not None and self._known is known and not self._was_overwritten:
                now = self._sampler.take()
                is_same = now is not None and now.state == known.state and now.index.has_marks_of(known.index)
                if is_same and not self._sampler.was_written and self.handles.find("") == handle:
                    self._known = evolve(known, whole=whole)
                    return True
            return self._was_overwritten
