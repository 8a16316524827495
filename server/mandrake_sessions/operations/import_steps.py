"""The transactions of an import, one after the other: several small sources share one, a large one has many.

A transaction ends where the store ends it (``Imports.step``); here is only decided when.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import Final

from mandrake_sessions.operations.imports import Imports

# A transaction takes about so long at the most, or reads so many bytes: others wait for its end.
STEP_SECONDS: Final = 0.2
STEP_BYTES: Final = 4 * 1024 * 1024


class Steps:
    """``begin`` before each source and after each ``end``."""

    def __init__(self, imports: Imports) -> None:
        self._imports = imports
        self._running: ExitStack | None = None
        self._until = 0.0
        self._bytes = 0

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def begin(self) -> None:
        """Go on in the transaction that runs, or in a new one. Raises NotOpen, Busy, StorageFailure."""
        if self._running is not None and (self._bytes >= STEP_BYTES or self.is_due()):
            self.end()
        if self._running is None:
            running = ExitStack()
            running.enter_context(self._imports.step())
            self._running, self._bytes, self._until = running, 0, time.monotonic() + STEP_SECONDS

    def count(self, size: int) -> None:
        """So many bytes were read."""
        self._bytes += max(0, size)

    def is_due(self) -> bool:
        """Whether others have waited for long enough."""
        return time.monotonic() >= self._until

    def end(self) -> None:
        """What was written is stored. Raises StorageFailure."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def go_on(self) -> None:
        """Let others write, if they have waited for long."""
        if self.is_due():
            self.end()
            self.begin()

    def drop(self) -> None:
        """What was written since the last ``end`` is not stored."""
        running, self._running = self._running, None
        if running is not None:
            with suppress(_Dropped), running:
                raise _Dropped


class _Dropped(Exception):
    """Ends a transaction that is not to be kept."""
