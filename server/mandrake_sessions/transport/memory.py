"""Gives the memory of a large message back to the system once the message is done with."""

from __future__ import annotations

import sys
from functools import cache

# glibc's M_MMAP_THRESHOLD, and the bytes from which on a block is mapped by itself.
_MMAP_THRESHOLD = -3
_LARGE_BLOCK = 1024 * 1024


@cache
def map_large_blocks() -> None:
    """Let each large block be mapped by itself, and unmapped when it is freed. glibc stops doing so after the first one
    that is freed, and each thread's heap keeps what it once held. Done once, before the first large thing, so that who
    never has one does not load ctypes; where there is no glibc, nothing is done."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BLOCK)
    except (ImportError, OSError, AttributeError):
        return
