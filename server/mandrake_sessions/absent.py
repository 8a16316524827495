"""A store that is not there yet, as its clients see it: empty. Reads of it make nothing, and only a write that can
succeed makes it.
"""

from __future__ import annotations

import os

from mandrake_sessions.operations.conversations import Conversations
from mandrake_sessions.store.engines import empty_store, is_there

__all__ = ["AbsentStore", "is_there"]


class AbsentStore(Conversations):
    """Answers as a new store would, with ``seq`` 0 and no ``store_id``.

    Every operation checks its parameters and looks for what they name as ever. One that would write something raises
    ``WriteNeeded``; to be used by one thread.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(empty_store())
        self.path = os.fspath(path)
