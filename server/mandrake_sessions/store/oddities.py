"""Values of a file that could not be read; the rest of the file stays in use."""

from __future__ import annotations

import logging
import threading

from mandrake_sessions.errors import Unreadable

logger = logging.getLogger(__name__)

# How many are remembered, for the health of the store.
MAX_ODDITIES = 50


class Oddities:
    """The values of one open store that cannot be read. All its connections use it, on any thread.

    ``pruned_seq``: the last change of the feed that could not be read. It counts as pruned, so subscribers from before
    it get a reset.
    """

    def __init__(self) -> None:
        self.pruned_seq = 0
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Unreadable] = {}

    def note(self, error: Unreadable) -> None:
        """Remember a value, and log it once."""
        key = (error.entity, error.entity_id)
        with self._lock:
            if key in self._found or len(self._found) >= MAX_ODDITIES:
                return
            self._found[key] = error
        logger.warning("%s: %s", error.path, error)

    def forget(self, error: Unreadable) -> None:
        """Forget a value: it can be read again, or is gone."""
        with self._lock:
            self._found.pop((error.entity, error.entity_id), None)

    def listed(self) -> list[Unreadable]:
        return list(self._found.values()) if self._found else []
