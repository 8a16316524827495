"""Watches the processes at whose end the server ends: the editor that started it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
# A process that is seen, and of which no more can be told.
_SOMEBODY = "somebody"


class Parents:
    """Calls ``gone`` with the id of the first watched process that has ended."""

    def __init__(self, gone: Callable[[int], None]) -> None:
        self._gone = gone
        self._watched: dict[int, str] = {}

    def watch(self, process_id: int) -> None:
        """Watch a process. One that is invisible from here, as in another container, is not watched."""
        who = _who(process_id)
        if who is None:
            logger.info("the parent process %d cannot be seen from here, and is not watched", process_id)
            return
        if not self._watched:
            self._look_later()
        self._watched[process_id] = who

    def _look_later(self) -> None:
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        for process_id, who in self._watched.items():
            found = _who(process_id)
            # The system uses ids again: another process under the same id is not the parent.
            if found is None or (found != who and _SOMEBODY not in (found, who)):
                self._gone(process_id)
                return
        self._look_later()


def _who(process_id: int) -> str | None:
    """Tells a process from later ones with its id, by when it began; None if there is none, or it has ended and only
    waits for its own parent to notice."""
    if os.name == "nt":
        # os.kill ends a process there; the end of the input tells of a parent's death as well.
        return _SOMEBODY
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return None
    except OSError:
        # It is another user's.
        pass
    try:
        # The name of the program, in parentheses, may contain anything.
        fields = Path(f"/proc/{process_id}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        # Another system, or too many open files.
        return _SOMEBODY
    if len(fields) < 20:
        return _SOMEBODY
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()
