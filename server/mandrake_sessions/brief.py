"""Work that must be brief because an event loop waits for it. Work that proves long is abandoned with nothing done, and
can start again on a thread.

A read notices long work where it meets it: a stored JSON value of many bytes, a long turn, many rows. So nothing has to
examine the store beforehand, and short work pays nothing.
"""

from __future__ import annotations

import threading
import time

from mandrake_sessions.errors import TakesLong

# Characters of a JSON value, and bytes of a turn with its texts or of its tool calls. Reading and encoding that much
# takes about 10 ms.
LONG_JSON = 128 * 1024
LONG_TURN = 1024 * 1024
LONG_CALLS = 64 * 1024
# Processor time of the thread; a thread that does not run reads nothing.
BRIEF_SECONDS = 0.01


class _Brief(threading.local):
    asked_for = False
    until: float | None = None


_brief = _Brief()


class Briefly:
    """In the block, the reads of this thread raise ``TakesLong`` if they prove long."""

    def __enter__(self) -> None:
        _brief.asked_for = True
        _brief.until = None

    def __exit__(self, *_: object) -> None:
        _brief.asked_for = False


def check_length(length: int, limit: int) -> None:
    """Call this before reading a value of known length. Raises TakesLong if it is above the limit."""
    if length > limit and _brief.asked_for:
        raise TakesLong


def check_time() -> None:
    """Call this between two rows. Raises TakesLong if the rows so far took too long."""
    if not _brief.asked_for:
        return
    now = time.thread_time()
    if _brief.until is None:
        _brief.until = now + BRIEF_SECONDS
    elif now > _brief.until:
        raise TakesLong
