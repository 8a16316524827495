"""The checksum of a whole large database, taken on a thread while nobody writes to the file.

Whether a file that somebody has written over is still the same can only be told by a checksum from before. Each
checkpoint changes the file, so each makes the checksum unknown. It is taken again with a delay that grows with the
file: however often there is a checkpoint, that costs at most a twentieth of one processor.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from typing import Final

# A larger file has no checksum: reading it would push too much else out of the system's cache.
MAX_BYTES: Final = 1024**3
_READ_AT_ONCE: Final = 1024**2
_LEAST_DELAY_SECONDS: Final = 0.05
# Twenty times as long as reading takes, with a processor of today.
_DELAY_SECONDS_PER_BYTE: Final = 20 * 0.5 / 1024**3


def checksum(handle: int, size: int, is_wanted: Callable[[], bool] = lambda: True) -> int | None:
    """Of the first ``size`` bytes; about half a second a gigabyte. None once it ``is_wanted`` no longer. Raises
    OSError."""
    found = 0
    for at in range(0, size, _READ_AT_ONCE):
        if not is_wanted():
            return None
        found = zlib.crc32(os.pread(handle, min(_READ_AT_ONCE, size - at), at), found)
    return found


class ChecksumTaker:
    """Calls ``take`` on a thread, some time after each ``wanted``, until it returns True."""

    def __init__(self, take: Callable[[], bool]) -> None:
        self._take = take
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._size = 0
        self._times_wanted = 0
        self._is_running = False

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def wanted(self, size: int) -> None:
        """The file has changed; it has ``size`` bytes now."""
        with self._lock:
            self._size = size
            self._times_wanted += 1
            if self._is_running or self.is_closed or size > MAX_BYTES:
                return
            try:
                threading.Thread(target=self._run, name="checksum", daemon=True).start()
            except RuntimeError:
                # No more threads may be started: it stays unknown.
                return
            self._is_running = True

    def close(self) -> None:
        """Take no more; a thread that does ends soon."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(max(_LEAST_DELAY_SECONDS, self._size * _DELAY_SECONDS_PER_BYTE)):
            times_wanted = self._times_wanted
            is_taken = self._take()
            with self._lock:
                if self._size > MAX_BYTES or (is_taken and times_wanted == self._times_wanted):
                    self._is_running = False
                    return
