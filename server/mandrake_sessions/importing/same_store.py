"""Whether a store that is written to for long is still the one that it was."""

from __future__ import annotations

import time
from typing import Final

from mandrake_sessions.errors import SessionsError, StoreMoved
from mandrake_sessions.manager import SessionManager

# A store that is put in the place of another one may be there in a moment.
_TRIES: Final = 5
_PAUSE: Final = 0.2


class StoreReplaced(SessionsError):
    """The store is gone, or is another one. What is remembered of sources is of the one before."""


class SameStore:
    """``remember`` the store, then ``check`` it."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._id: str | None = None

    def remember(self) -> None:
        self._id = self._manager.feed.store_id()

    def check(self) -> None:
        """Raises StoreReplaced, NotOpen, Busy, StorageFailure."""
        if self._id is not None and self._present_id() != self._id:
            raise StoreReplaced(
                "the store was deleted, replaced or moved while it was followed; run it again: it brings in what the "
                "store lacks that is there then"
            )

    def _present_id(self) -> str | None:
        """That of the store which has the name now; None where there is none, a moment later either."""
        for _ in range(_TRIES):
            try:
                return self._manager.feed.store_id()
            except StoreMoved:
                time.sleep(_PAUSE)
        return None
