"""Keeps the files of what is brought in, byte for byte, beside the sessions that they become.

A file is read a second time for that, and packed on a thread while the first reading goes on, so that both together
take little longer than one. What is kept of it already is not read again but for its last block, which tells whether it
is the same file still.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from typing import IO, Final

from mandrake_sessions.importing.lines import ENDINGS, SourceUnreadable, opened, skip
from mandrake_sessions.importing.reading import Source, file_facts, storable
from mandrake_sessions.operations.originals import BLOCK_BYTES, Block, Originals, blocks_of, packed, unpacked

# So many blocks are packed together, and held.
_BATCH: Final = 8
# Of less than this the packing is not worth a thread.
WORTH_A_THREAD: Final = 4 * BLOCK_BYTES
# So much is read at once of what is only looked at.
_PIECE: Final = 1024 * 1024
# A larger file beside a transcript is not kept.
_MAX_BESIDE: Final = 1024 * 1024


class Keeping:
    """Keeps the files of one source. ``start`` before the source is read, then ``keep`` any number of times, then
    ``finish``; each of these two in the transaction that runs. ``close`` in any case. ``ready``: all of a file that is
    not kept yet, as it is kept; None where that is still to be made."""

    def __init__(
        self, originals: Originals, source: Source, threads: ThreadPoolExecutor, ready: list[Block] | None = None
    ) -> None:
        self._originals = originals
        self._source = source
        self._threads = threads
        self._ready = ready
        self._packing: _Packing | None = None
        self._waiting: list[Block] = []
        self._file_pk: int | None = None
        self._is_another = False
        self._kept_bytes = 0
        # How many bytes were kept that were not before.
        self.kept = 0
        # Whether the file still ends what is kept of it as it did, so that it was only added to.
        self.has_grown = False

    def start(self, session_pk: int | None, *, is_rewritten: bool = False) -> None:
        """Begin to read, where the file is not kept as it is. ``session_pk``: of a session that is there;
        ``is_rewritten``: it is known to be another file than it was."""
        source = self._source
        known = None if session_pk is None else self._originals.kept(session_pk, source.kept_as)
        if source.beside is None or (known is not None and _is_same(source, known.file_id, known.size, known.mtime_ns)):
            return
        at = 0
        if known is not None and known.end:
            if not source.size:
                # A file that was emptied: the words of before are kept.
                return
            last = self._originals.last_block(known.pk)
            assert last is not None
            if is_rewritten or not _has(source.path, last):
                self._is_another, self._kept_bytes = True, known.end
            else:
                self.has_grown = True
                at = known.end if last.size == BLOCK_BYTES else last.start
                self.kept = at - known.end
        threads = self._threads if source.size - at >= WORTH_A_THREAD else None
        self._packing = _Packing(source.path, at, threads, self._ready)

    @property
    def is_needed(self) -> bool:
        """Whether anything of the transcript is not kept yet."""
        return self._packing is not None

    def keep(self, session_pk: int, upto: int | None, pause: Callable[[], None] = lambda: None) -> None:
        """Keep what stands before a byte, or all. ``pause`` is called between a few blocks and the next."""
        if self._packing is None or (self._is_another and upto is not None):
            # Whether another file takes the place of what is kept is known once it was read.
            return
        if self._file_pk is None:
            self._file_pk = self._open(session_pk)
            if self._is_another:
                self._originals.cut(self._file_pk)
        while upto is None or not self._waiting or self._waiting[0].start < upto:
            if not self._waiting:
                self._waiting = self._packing.take()
                if not self._waiting:
                    break
                continue
            ready = [block for block in self._waiting if upto is None or block.start < upto]
            self._originals.put(self._file_pk, ready)
            self.kept += sum(block.size for block in ready)
            self._waiting = self._waiting[len(ready) :]
            pause()

    def finish(self, session_pk: int, pause: Callable[[], None] = lambda: None, *, is_whole: bool = True) -> bool:
        """Keep what is left, and the files beside it. ``is_whole``: all of it could be read. False: it is another file
        than what is kept, and less or damaged, so that what is kept stays."""
        source = self._source
        if self._packing is not None and self._is_another and not (is_whole and self._is_no_less()):
            self._file_pk = self._open(session_pk)
            self._originals.close(self._file_pk, source.file_id, source.size, source.mtime_ns)
            return False
        self.keep(session_pk, None, pause)
        if self._file_pk is not None:
            self._originals.close(self._file_pk, source.file_id, source.size, source.mtime_ns)
        for path in source.beside or ():
            self._keep_beside(session_pk, path)
        return True

    def _is_no_less(self) -> bool:
        """Whether a file of lines is as long as what is kept, and ends with a line. Others are written anew."""
        source = self._source
        if not source.path.endswith(ENDINGS):
            return True
        size, end = 0, b""
        with closing(opened(source.path)) as file:
            if file.seekable():
                # A compressed file has to be read to its end.
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                end = file.read(1)
            while piece := file.read(_PIECE):
                size, end = size + len(piece), piece[-1:]
        return size >= self._kept_bytes and end == b"\n"

    def close(self) -> None:
        if self._packing is not None:
            self._packing.close()

    def _open(self, session_pk: int) -> int:
        source = self._source
        return self._originals.open(session_pk, source.reader, source.kept_as, storable(source.path))

    def _keep_beside(self, session_pk: int, path: str) -> None:
        """A small file. One that cannot be read is none."""
        facts, name = file_facts(path), os.path.basename(path)  # noqa: PTH119
        if facts is None or not 0 < int(facts["size"]) <= _MAX_BESIDE:
            return
        now = str(facts["file_id"]), int(facts["size"]), int(facts["mtime_ns"])
        known = self._originals.kept(session_pk, name)
        if known is not None and now == (known.file_id, known.size, known.mtime_ns):
            return
        try:
            with closing(opened(path)) as file:
                content = file.read(_MAX_BESIDE)
        except (OSError, SourceUnreadable):
            return
        pk = self._originals.open(session_pk, self._source.reader, name, storable(path))
        self._originals.cut(pk)
        self._originals.put(pk, blocks_of(content))
        self._originals.close(pk, *now)


class _Packing:
    """The blocks of a file from a byte on, a few at a time; the next few are made while these are written."""

    def __init__(self, path: str, at: int, threads: ThreadPoolExecutor | None, ready: list[Block] | None) -> None:
        self._path = path
        self._ready = ready
        self._at = at
        self._threads = threads
        self._is_over = False
        self._file: IO[bytes] | None = None
        self._next: Future[list[Block]] | None = None
        if threads is not None and ready is None:
            self._next = threads.submit(self._pack)

    def take(self) -> list[Block]:
        """None at the end. Raises OSError, SourceUnreadable."""
        if self._ready is not None:
            found, self._ready = self._ready, []
            return found
        if self._threads is None or self._next is None:
            return self._pack()
        found = self._next.result()
        self._next = self._threads.submit(self._pack) if found else None
        return found

    def _pack(self) -> list[Block]:
        if self._file is None:
            self._file = opened(self._path)
            skip(self._file, self._at)
        blocks: list[Block] = []
        while len(blocks) < _BATCH and not self._is_over and (piece := _read_whole(self._file)):
            blocks.append(packed(self._at, piece))
            self._at += len(piece)
            # What comes meanwhile belongs into the same block, the next time.
            self._is_over = len(piece) < BLOCK_BYTES
        return blocks

    def close(self) -> None:
        if self._next is not None and not self._next.cancel():
            self._next.exception()
        if self._file is not None:
            self._file.close()


def _read_whole(file: IO[bytes]) -> bytes:
    """A whole block, but for the last one: each read of a compressed file may give less. Of a file that is damaged, as
    much as can be read: whoever reads its lines says so."""
    pieces, size = [], 0
    with suppress(SourceUnreadable):
        while size < BLOCK_BYTES and (piece := file.read(BLOCK_BYTES - size)):
            pieces.append(piece)
            size += len(piece)
    return b"".join(pieces)


def _has(path: str, block: Block) -> bool:
    """Whether a file has these bytes where they were. Raises OSError, SourceUnreadable."""
    with closing(opened(path)) as file:
        skip(file, block.start)
        try:
            return file.read(block.size) == unpacked(block)
        except ValueError:
            # It is damaged here, so it is kept again.
            return False


def _is_same(source: Source, file_id: str | None, size: int | None, mtime_ns: int | None) -> bool:
    return (source.file_id, source.size, source.mtime_ns) == (file_id, size, mtime_ns)
