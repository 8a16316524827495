"""Work that must be brief, since an event loop waits for it: where it turns out to be long it is given up, with nothing
done, and can be begun again on a thread that may take its time.

What is long is seen where it is read: a stored JSON value of many bytes, a long turn, many rows. So nobody has to look
at the store beforehand, and work that is short pays nothing.
"""

from __future__ import annotations

import threading
import time

from mandrake_sessions.errors import TakesLong

# Characters of a JSON value, and bytes of a turn with its texts, or of its tool calls: what takes about 10 ms to read
# and to encode again.
LONG_JSON = 128 * 1024
LONG_TURN = 1024 * 1024
LONG_CALLS = 64 * 1024
# Processor time of the thread: while it does not run it reads nothing.
BRIEF_SECONDS = 0.01


class _Brief(threading.local):
    asked_for = False
    until: float | None = None


_brief = _Brief()


class Briefly:
    """The reads of the block, by this thread, raise ``TakesLong`` where they turn out to be long."""

    def __enter__(self) -> None:
        _brief.asked_for = True
        _brief.until = None

    def __exit__(self, *_: object) -> None:
        _brief.asked_for = False


def check_length(length: int, limit: int) -> None:
    """Before something of a known length is read, where that is more than the limit. Raises TakesLong."""
    if length > limit and _brief.asked_for:
        raise TakesLong


def check_time() -> None:
    """Between two rows. Raises TakesLong where the rows before have taken long."""
    if not _brief.asked_for:
        return
    now = time.thread_time()
    if _brief.until is None:
        _brief.until = now + BRIEF_SECONDS
    elif now > _brief.until:
        raise TakesLong
