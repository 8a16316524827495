"""What was met in a file that could not be read for what it is, while the rest of it is used as ever."""

from __future__ import annotations

import logging
import threading

from mandrake_sessions.errors import Unreadable

logger = logging.getLogger(__name__)

# So many are remembered, to be named in the health of the store.
MAX_ODDITIES = 50


class Oddities:
    """Of one open file; used by all its connections, on any thread.

    ``pruned_seq``: the last change of the feed that could not be read. Subscribers from before it are told so, as they
    are of changes that are no longer kept.
    """

    def __init__(self) -> None:
        self.pruned_seq = 0
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Unreadable] = {}

    def note(self, error: Unreadable) -> None:
        """Remember it, and log it once."""
        key = (error.entity, error.entity_id)
        with self._lock:
            if key in self._found or len(self._found) >= MAX_ODDITIES:
                return
            self._found[key] = error
        logger.warning("%s: %s", error.path, error)

    def forget(self, error: Unreadable) -> None:
        """It can be read again, or is gone."""
        with self._lock:
            self._found.pop((error.entity, error.entity_id), None)

    def listed(self) -> list[Unreadable]:
        return list(self._found.values()) if self._found else []
