"""Bytes that wait for somebody, in their order: in memory, and what is more in a private file without a name."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from typing import IO, Final

from mandrake_sessions.transport.descriptors import put_whole

_MEMORY_BYTES: Final = 8 * 1024 * 1024
_FILE_BYTES: Final = 4 * 1024 * 1024 * 1024
_TAKEN_BYTES: Final = 1024 * 1024
# Where the file takes nothing, somebody else may make room.
_SECONDS: Final = 1.0
MUCH_BYTES: Final = 4 * 1024 * 1024
_JUST_SECONDS: Final = 0.05


class Spool:
    """One thread puts, one takes."""

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._changed = threading.Condition()
        # Older than what is in the file.
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._file: IO[bytes] | None = None
        self._read_to = self._written_to = 0
        self._is_ended = False
        self._last_put = 0.0

    def put(self, piece: bytes) -> None:
        """Waits for room where the disk is full, or the file as long as it may be."""
        with self._changed:
            while not self._is_kept(piece):
                self._changed.wait(_SECONDS)
            self._last_put = time.monotonic()
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many bytes wait to be taken."""
        return self._bytes + self._written_to - self._read_to

    @property
    def is_filling(self) -> bool:
        """Whether much waits, and more has just come."""
        return self.waiting > MUCH_BYTES and time.monotonic() - self._last_put < _JUST_SECONDS

    def end(self) -> None:
        """Nothing more comes; what is there can still be taken."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def take(self) -> bytes:
        """The next bytes; waits for them, and gives none at the end. Raises OSError: the file cannot be read."""
        with self._changed:
            while not self._pieces and self._read_to == self._written_to and not self._is_ended:
                self._changed.wait()
            piece = self._from_memory() if self._pieces else self._from_file()
            self._changed.notify_all()
            return piece

    def _is_kept(self, piece: bytes) -> bool:
        if self._read_to == self._written_to and self._bytes < self._memory_bytes:
            self._pieces.append(piece)
            self._bytes += len(piece)
            return True
        if self._written_to + len(piece) > _FILE_BYTES:
            return False
        with suppress(OSError):
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            put_whole(self._file.fileno(), piece, self._written_to)
            self._written_to += len(piece)
            return True
        return False

    def _from_memory(self) -> bytes:
        piece = self._pieces.popleft()
        self._bytes -= len(piece)
        return piece

    def _from_file(self) -> bytes:
        if self._file is None:
            return b""
        if self._read_to == self._written_to:
            self._file.close()
            self._file = None
            return b""
        size = min(_TAKEN_BYTES, self._written_to - self._read_to)
        piece = os.pread(self._file.fileno(), size, self._read_to)
        self._read_to += len(piece)
        if self._read_to == self._written_to:
            self._read_to = self._written_to = 0
            # It takes no room on the disk while nothing waits.
            self._file.truncate(0)
        return piece
