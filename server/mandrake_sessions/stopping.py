"""Long work that is done in steps, and that somebody may no longer want.

Whoever does it calls ``check_wanted`` between two steps, and while it waits for a lock. So an end takes a moment, and
what the work has begun can be undone in order.
"""

from __future__ import annotations

import threading

from mandrake_sessions.errors import Cancelled


class _Own(threading.local):
    """What the current thread does."""

    work: Stoppable | None = None


_own = _Own()


class Stoppable:
    """The block does work that ``stop``, from any thread, ends at its next step."""

    def __init__(self) -> None:
        self._why: str | None = None

    def __enter__(self) -> None:
        _own.work = self

    def __exit__(self, *_: object) -> None:
        _own.work = None

    def stop(self, why: str) -> None:
        self._why = why

    def check(self) -> None:
        if self._why is not None:
            raise Cancelled(self._why)


class Unstoppable:
    """The block finishes what it does: it undoes what was stopped."""

    def __enter__(self) -> None:
        self._work, _own.work = _own.work, None

    def __exit__(self, *_: object) -> None:
        _own.work = self._work


def check_wanted() -> None:
    """Raises Cancelled: nobody wants the work of this thread any more."""
    if _own.work is not None:
        _own.work.check()
