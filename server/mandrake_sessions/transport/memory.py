"""Gives the memory of a large message back to the system once the message is done with, and keeps a little in reserve
for the answers of a process that has no more."""

from __future__ import annotations

import mmap
import sys
from contextlib import suppress
from functools import cache

# glibc's M_MMAP_THRESHOLD, and the bytes from which on a block is mapped by itself.
_MMAP_THRESHOLD = -3
_LARGE_BLOCK = 1024 * 1024
# glibc's M_ARENA_MAX.
_ARENA_MAX = -8
# Address space that nobody touches, so it takes no memory. Python's smallest share of new memory is 1 MiB.
_RESERVE_BYTES = 4 * 1024 * 1024


class Reserve:
    """``spend`` when there is no memory, so that what is small goes on; ``keep`` it again when there is some."""

    def __init__(self) -> None:
        self._mapped: mmap.mmap | None = None

    def keep(self) -> None:
        if self._mapped is None:
            with suppress(OSError, MemoryError):
                self._mapped = mmap.mmap(-1, _RESERVE_BYTES)

    def spend(self) -> None:
        mapped, self._mapped = self._mapped, None
        if mapped is not None:
            mapped.close()


# Of this process, which has one limit.
reserve = Reserve()


@cache
def map_large_blocks() -> None:
    """Let each large block be mapped by itself, and unmapped when it is freed. glibc stops doing so after the first one
    that is freed, and each heap keeps what it once held. Done once, before the first large thing."""
    _mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)


def share_heap() -> None:
    """Let the threads that begin from now on share one heap: each further one would keep what it once held. They wait
    little for each other, since Python's threads take turns anyway."""
    _mallopt(_ARENA_MAX, 1)


def _mallopt(parameter: int, value: int) -> None:
    """Nothing is done where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(parameter, value)
    except (ImportError, OSError, AttributeError):
        return
