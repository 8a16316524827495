"""The client's log: our stderr."""

from __future__ import annotations

import threading
from typing import Final

from mandrake_sessions.folding import hint

# A reader who takes nothing is left after so long.
_SECONDS: Final = 0.5


class ClientLog:
    """Nothing waits for whoever reads it, until the end."""

    def __init__(self) -> None:
        self._saying: list[threading.Thread] = []

    def say(self, what: str) -> None:
        """Write one line."""
        thread = threading.Thread(target=hint, args=(f"mandrake-sessions acp: {what}",), daemon=True)
        self._saying.append(thread)
        thread.start()

    def settle(self) -> None:
        """Wait for a moment until all is written."""
        for thread in self._saying:
            thread.join(_SECONDS)
