"""Pipes that hold more."""

from __future__ import annotations

import sys
from contextlib import suppress


def widen(pipe: int, size: int) -> None:
    """Let a pipe hold so many bytes, where the system can do that and allows it."""
    if sys.platform == "linux":
        import fcntl

        # A user who has many large pipes gets no more of them.
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
