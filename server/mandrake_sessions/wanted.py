"""Whether somebody still wants what a thread works on. Long work that reads nothing meanwhile asks now and then, so that
a cancelled request and the end of the server need not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mandrake_sessions.errors import Cancelled


class _Own(threading.local):
    is_wanted: Callable[[], bool] | None = None


_own = _Own()


class WhileWanted:
    """In the block, ``check_wanted`` raises Cancelled once ``is_wanted`` gives false."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted

    def __enter__(self) -> None:
        _own.is_wanted = self._is_wanted

    def __exit__(self, *_: object) -> None:
        _own.is_wanted = None


def check_wanted() -> None:
    """Call this between two pieces of long work. Raises Cancelled."""
    if _own.is_wanted is not None and not _own.is_wanted():
        raise Cancelled("the request was answered before its work was done")
